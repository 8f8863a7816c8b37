//! Who asks: access tokens, checked on every request (contract, sections 1 and 2).

use axum::extract::{FromRef, FromRequestParts};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde::Deserialize;
use talktime_kit::redis::Pool;
use talktime_kit::redis::commands::KeysInterface;
use talktime_kit::{Clock, Error, Kind};

use crate::keys::Keys;
use crate::problem::Problem;

const ISSUER: &str = "talktime";
const AUDIENCE: &str = "talktime";
const ACCESS: &str = "access";

/// The person behind a valid access token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The person.
    pub user_id: i64,
    /// The token's `jti`.
    pub token_id: String,
    /// The token's `sid`: the session that it belongs to.
    pub session_id: String,
    /// When the token ends.
    pub expires_at: DateTime<Utc>,
}

/// Checks access tokens; cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    keys: Keys,
    redis: Pool,
    clock: Clock,
}

#[derive(Deserialize)]
struct Claims {
    user_id: i64,
    jti: String,
    sid: String,
    /// Seconds since 1970, as `exp`.
    iat: i64,
    exp: i64,
    #[serde(rename = "type")]
    kind: String,
}

impl Tokens {
    /// Checks with these keys, against the revocations in Redis.
    pub fn new(keys: Keys, redis: Pool, clock: Clock) -> Self {
        Self { keys, redis, clock }
    }

    /// The person behind `token`. Refuses what is not an access token of ours, is expired or
    /// revoked; unavailable when that cannot be known: nobody comes in because Redis is down.
    pub async fn check(&self, token: &str) -> Result<Caller, Error> {
        let claims = self.claims(token).await?;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or_else(invalid)?;
        if expires_at <= self.clock.now() {
            return Err(refused("token_expired", "The access token has expired."));
        }
        if self.is_revoked(&claims).await? {
            return Err(refused(
                "token_revoked",
                "The access token has been revoked.",
            ));
        }
        Ok(Caller {
            user_id: claims.user_id,
            token_id: claims.jti,
            session_id: claims.sid,
            expires_at,
        })
    }

    async fn claims(&self, token: &str) -> Result<Claims, Error> {
        let header = decode_header(token).map_err(|_| invalid())?;
        let key_id = header.kid.ok_or_else(invalid)?;
        let key = self.keys.find(&key_id).await?.ok_or_else(invalid)?;
        let claims = decode::<Claims>(token, &key, &validation())
            .map_err(|_| invalid())?
            .claims;
        if claims.kind == ACCESS {
            Ok(claims)
        } else {
            Err(invalid())
        }
    }

    /// Logout revokes one token, the end of a session all of that session, `revoked_before` all that
    /// were issued until then.
    async fn is_revoked(&self, claims: &Claims) -> Result<bool, Error> {
        let Claims {
            user_id, jti, sid, ..
        } = claims;
        let one = format!("access:{user_id}:{jti}");
        let session = format!("access:{user_id}:session:{sid}");
        let all = format!("access:{user_id}:revoked_before");
        let keys = vec![one, session, all];
        let (one, session, all): (Option<String>, Option<String>, Option<i64>) =
            self.redis.mget(keys).await?;
        Ok(one.is_some()
            || session.is_some()
            || all.is_some_and(|revoked_before| claims.iat <= revoked_before))
    }
}

/// All but the times, which are checked against our own clock and without leeway.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud"]);
    validation.validate_exp = false;
    validation
}

fn invalid() -> Error {
    refused("invalid_token", "The access token is not valid.")
}

/// The refusal of a request without a token.
pub fn missing() -> Error {
    refused("missing_token", "An access token is needed here.")
}

fn refused(code: &'static str, detail: &'static str) -> Error {
    Error::new(Kind::Unauthenticated, code, detail)
}

/// The token of an `Authorization: Bearer` header (RFC 6750); `None` without the header.
pub fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(invalid)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(Some(token))
    } else {
        Err(invalid())
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Tokens: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?.ok_or_else(missing)?;
        Ok(Tokens::from_ref(state).check(token).await?)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::{Value, json};
    use talktime_kit::config::RedisConfig;

    use super::*;

    const NOW: i64 = 1_800_000_000;

    /// A key made of one repeated byte, in the frame of RFC 8410.
    fn signing_key(seed: u8) -> EncodingKey {
        const FRAME: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        EncodingKey::from_ed_der(&[FRAME, &[seed; 32]].concat())
    }

    /// Knows one key, `k1`; Redis is down.
    fn tokens() -> Tokens {
        let mut jwk = Jwk::from_encoding_key(&signing_key(1), Algorithm::EdDSA).expect("a key");
        jwk.common.key_id = Some("k1".to_owned());
        let jwks = serde_json::to_string(&JwkSet { keys: vec![jwk] }).expect("JSON");
        let nowhere = RedisConfig {
            url: "redis://127.0.0.1:1".into(),
        };
        let redis = talktime_kit::redis::connect(&nowhere).expect("a valid address");
        let now = DateTime::from_timestamp(NOW, 0).expect("valid");
        Tokens::new(Keys::fixed(jwks), redis, Clock::manual(now))
    }

    fn claims() -> Value {
        json!({
            "iss": "talktime", "aud": "talktime", "type": "access", "jti": "t1", "sid": "s1", "user_id": 7,
            "iat": NOW - 10, "exp": NOW + 10,
        })
    }

    fn signed(claims: &Value, seed: u8) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some("k1".to_owned());
        encode(&header, claims, &signing_key(seed)).expect("signed")
    }

    async fn refusal(token: &str) -> String {
        let error = tokens().check(token).await.expect_err("refused");
        error.code().to_owned()
    }

    #[tokio::test]
    async fn a_good_token_still_needs_redis_to_say_that_it_was_not_revoked() {
        let token = signed(&claims(), 1);
        assert_eq!(refusal(&token).await, "redis_unavailable");
    }

    #[tokio::test]
    async fn a_token_ends_at_its_second() {
        let mut claims = claims();
        claims["exp"] = NOW.into();
        assert_eq!(refusal(&signed(&claims, 1)).await, "token_expired");
    }

    #[tokio::test]
    async fn another_kind_of_token_is_no_access_token() {
        for (field, other) in [("type", "refresh"), ("iss", "others"), ("aud", "others")] {
            let mut claims = claims();
            claims[field] = other.into();
            assert_eq!(
                refusal(&signed(&claims, 1)).await,
                "invalid_token",
                "{field}"
            );
        }
        let registration = json!({
            "iss": "talktime", "aud": "talktime", "type": "registration", "jti": "t1",
            "phone": "+919812345678", "iat": NOW, "exp": NOW + 10,
        });
        assert_eq!(refusal(&signed(&registration, 1)).await, "invalid_token");
    }

    #[tokio::test]
    async fn what_others_signed_is_refused() {
        assert_eq!(refusal(&signed(&claims(), 2)).await, "invalid_token");
        // The classic: our public key taken for an HMAC secret.
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k1".to_owned());
        let secret = EncodingKey::from_secret(b"public key");
        let forged = encode(&header, &claims(), &secret).expect("signed");
        assert_eq!(refusal(&forged).await, "invalid_token");
    }

    fn read(value: &'static str) -> Result<Option<String>, String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        bearer(&headers)
            .map(|token| token.map(str::to_owned))
            .map_err(|error| error.code().to_owned())
    }

    #[test]
    fn the_scheme_is_read_without_regard_to_case() {
        assert_eq!(read("Bearer abc"), Ok(Some("abc".to_owned())));
        assert_eq!(read("bearer  abc "), Ok(Some("abc".to_owned())));
        assert_eq!(bearer(&HeaderMap::new()).map_err(|_| ()), Ok(None));
    }

    #[test]
    fn a_malformed_header_is_an_invalid_token() {
        for value in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(read(value), Err("invalid_token".to_owned()), "{value:?}");
        }
    }
}
