//! Who asks: access tokens, checked on every request (contract, sections 1 and 2).

use std::sync::Arc;

use axum::extract::{FromRef, FromRequestParts};
use chrono::{DateTime, Utc};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use jsonwebtoken::{decode, decode_header};
use quick_cache::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use talktime_kit::tokens::claim_validation;
use talktime_kit::{Clock, Error, Kind};

use crate::keys::Keys;
use crate::problem::Problem;
use crate::revocations::{Identity, Revocations};

const ACCESS: &str = "access";
/// Checking a signature takes longer than all else that the gateway does for a small request. So many
/// tokens are remembered as checked, a few hundred bytes each; the least used go first.
const VERIFIED_MAX: usize = 50_000;

/// The person behind a valid access token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Caller {
    /// The person.
    pub user_id: i64,
    /// The token's `jti`.
    pub token_id: String,
    /// The token's `sid`: the session that it belongs to.
    pub session_id: String,
    /// When the token was issued, in seconds since 1970.
    pub issued_at: i64,
    /// When the token ends.
    pub expires_at: DateTime<Utc>,
}

/// Checks access tokens; cheap to clone.
#[derive(Clone)]
pub struct Tokens {
    keys: Keys,
    revocations: Revocations,
    /// By the token's hash, so that no token lies about in memory.
    verified: Arc<Cache<[u8; 32], Arc<Verified>>>,
    clock: Clock,
}

/// A token whose signature and claims are right; whether it still holds is another question.
struct Verified {
    key_id: String,
    claims: Claims,
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
    /// Checks with these keys, against these revocations.
    pub fn new(keys: Keys, revocations: Revocations, clock: Clock) -> Self {
        Self {
            keys,
            revocations,
            verified: Arc::new(Cache::new(VERIFIED_MAX)),
            clock,
        }
    }

    /// The person behind `token`. Refuses what is not an access token of ours, is expired or
    /// revoked; unavailable when that cannot be known: nobody comes in because something is down.
    pub async fn check(&self, token: &str) -> Result<Caller, Error> {
        let verified = self.verified(token).await?;
        let claims = &verified.claims;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or_else(invalid)?;
        if expires_at <= self.clock.now() {
            return Err(refused("token_expired", "The access token has expired."));
        }
        if self.revocations.cover(claims.identity()).await? {
            return Err(refused(
                "token_revoked",
                "The access token has been revoked.",
            ));
        }
        Ok(Caller {
            user_id: claims.user_id,
            token_id: claims.jti.clone(),
            session_id: claims.sid.clone(),
            issued_at: claims.iat,
            expires_at,
        })
    }

    /// Whether the token of a caller who came in with it has been revoked since.
    pub async fn is_revoked(&self, caller: &Caller) -> Result<bool, Error> {
        let identity = Identity {
            user_id: caller.user_id,
            token_id: &caller.token_id,
            session_id: &caller.session_id,
            issued_at: caller.issued_at,
        };
        self.revocations.cover(identity).await
    }

    /// From memory, as long as its key is published.
    async fn verified(&self, token: &str) -> Result<Arc<Verified>, Error> {
        let hash = Sha256::digest(token).into();
        if let Some(verified) = self.verified.get(&hash)
            && self.keys.has(&verified.key_id)?
        {
            return Ok(verified);
        }
        let verified = Arc::new(self.verify(token).await?);
        self.verified.insert(hash, verified.clone());
        Ok(verified)
    }

    async fn verify(&self, token: &str) -> Result<Verified, Error> {
        let header = decode_header(token).map_err(|_| invalid())?;
        let key_id = header.kid.ok_or_else(invalid)?;
        let key = self.keys.find(&key_id).await?.ok_or_else(invalid)?;
        let claims = decode::<Claims>(token, &key, &claim_validation())
            .map_err(|_| invalid())?
            .claims;
        if claims.kind == ACCESS {
            Ok(Verified { key_id, claims })
        } else {
            Err(invalid())
        }
    }
}

impl Claims {
    fn identity(&self) -> Identity<'_> {
        Identity {
            user_id: self.user_id,
            token_id: &self.jti,
            session_id: &self.sid,
            issued_at: self.iat,
        }
    }
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
        // Found out already by who counts requests.
        if let Some(caller) = parts.extensions.get::<Self>() {
            return Ok(caller.clone());
        }
        let token = bearer(&parts.headers)?.ok_or_else(missing)?;
        Ok(Tokens::from_ref(state).check(token).await?)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};
    use talktime_kit::config::RedisConfig;

    use super::*;
    use crate::clients::AuthClient;

    const NOW: i64 = 1_800_000_000;

    /// A key made of one repeated byte, in the frame of RFC 8410.
    fn signing_key(seed: u8) -> EncodingKey {
        const FRAME: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        EncodingKey::from_ed_der(&[FRAME, &[seed; 32]].concat())
    }

    /// Knows one key, `k1`; auth and Redis are down.
    fn tokens() -> Tokens {
        let mut jwk = Jwk::from_encoding_key(&signing_key(1), Algorithm::EdDSA).expect("a key");
        jwk.common.key_id = Some("k1".to_owned());
        let jwks = serde_json::to_string(&JwkSet { keys: vec![jwk] }).expect("JSON");
        let nowhere = RedisConfig {
            url: "redis://127.0.0.1:1".into(),
        };
        let redis = talktime_kit::redis::connect(&nowhere).expect("a valid address");
        let auth = talktime_kit::grpc::client::connect("http://127.0.0.1:1");
        let auth = AuthClient::new(auth.expect("a valid address"));
        let clock = Clock::manual(DateTime::from_timestamp(NOW, 0).expect("valid"));
        let revocations = Revocations::new(auth, redis, clock.clone());
        Tokens::new(Keys::fixed(jwks), revocations, clock)
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
    async fn a_good_token_still_needs_somebody_to_say_that_it_was_not_revoked() {
        let (tokens, token) = (tokens(), signed(&claims(), 1));
        for _ in ["checked", "remembered as checked"] {
            let error = tokens.check(&token).await.expect_err("refused");
            assert_eq!(error.code(), "revocations_unavailable");
        }
    }

    #[tokio::test]
    async fn a_token_that_is_remembered_ends_at_its_second_as_well() {
        let (tokens, token) = (tokens(), signed(&claims(), 1));
        assert!(tokens.check(&token).await.is_err());
        assert_eq!(tokens.verified.len(), 1);
        tokens.clock.advance(chrono::TimeDelta::seconds(10));
        let error = tokens.check(&token).await.expect_err("refused");
        assert_eq!(error.code(), "token_expired");
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
