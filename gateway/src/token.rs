//! Access tokens, verified on every request (contract, sections 1 and 2).

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
use talktime_kit::{Clock, Error, ErrorKind};

use crate::keys::SigningKeys;
use crate::problem::Problem;
use crate::revocations::{AccessTokenRef, RevocationList};

const ACCESS: &str = "access";
/// Verifying a signature takes longer than everything else that the gateway does for a small request, so this many
/// verified tokens are cached, at a few hundred bytes each. The least used ones are dropped first.
const VERIFIED_MAX: usize = 50_000;

/// The user who sent a valid access token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CurrentUser {
    /// The token's `user_id`.
    pub user_id: i64,
    /// The token's `jti`.
    pub token_id: String,
    /// The token's `sid`, the session that it belongs to.
    pub session_id: String,
    /// The token's `iat`, in seconds since 1970.
    pub issued_at: i64,
    /// The token's `exp`.
    pub expires_at: DateTime<Utc>,
    /// The token's `auth_time`: the login of its session, in seconds since 1970. Tokens from before it was kept have
    /// none.
    pub auth_time: Option<i64>,
}

/// Verifies access tokens; cheap to clone.
#[derive(Clone)]
pub struct TokenVerifier {
    keys: SigningKeys,
    revocations: RevocationList,
    /// Keyed by the token's hash, so that no token is stored in memory.
    verified: Arc<Cache<[u8; 32], Arc<VerifiedAccessToken>>>,
    clock: Clock,
}

/// A token with a valid signature and valid claims. It may have expired or been revoked since.
struct VerifiedAccessToken {
    key_id: String,
    claims: AccessTokenClaims,
}

#[derive(Deserialize)]
struct AccessTokenClaims {
    user_id: i64,
    jti: String,
    sid: String,
    /// In seconds since 1970, like `exp`.
    iat: i64,
    exp: i64,
    #[serde(default)]
    auth_time: Option<i64>,
    #[serde(rename = "type")]
    kind: String,
}

impl TokenVerifier {
    /// Creates a verifier with an empty cache.
    pub fn new(keys: SigningKeys, revocations: RevocationList, clock: Clock) -> Self {
        Self {
            keys,
            revocations,
            verified: Arc::new(Cache::new(VERIFIED_MAX)),
            clock,
        }
    }

    /// Verifies a token and returns its user.
    ///
    /// # Errors
    /// The token is invalid, expired or revoked. The error is `Unavailable` when that cannot be determined: an outage
    /// never lets anyone in.
    pub async fn verify(&self, token: &str) -> Result<CurrentUser, Error> {
        let verified = self.verify_cached(token).await?;
        let claims = &verified.claims;
        let expires_at = DateTime::from_timestamp(claims.exp, 0).ok_or_else(invalid_token)?;
        if expires_at <= self.clock.now() {
            return Err(refused("token_expired", "The access token has expired."));
        }
        if self.revocations.is_revoked(claims.token_ref()).await? {
            return Err(revoked_token());
        }
        Ok(CurrentUser {
            user_id: claims.user_id,
            token_id: claims.jti.clone(),
            session_id: claims.sid.clone(),
            issued_at: claims.iat,
            expires_at,
            auth_time: claims.auth_time,
        })
    }

    /// Returns whether the token of this user has been revoked since it was verified.
    pub async fn is_revoked(&self, current_user: &CurrentUser) -> Result<bool, Error> {
        let token = AccessTokenRef {
            user_id: current_user.user_id,
            token_id: &current_user.token_id,
            session_id: &current_user.session_id,
            issued_at: current_user.issued_at,
        };
        self.revocations.is_revoked(token).await
    }

    /// Returns the cached token, as long as its key is published.
    async fn verify_cached(&self, token: &str) -> Result<Arc<VerifiedAccessToken>, Error> {
        let hash = Sha256::digest(token).into();
        if let Some(verified) = self.verified.get(&hash)
            && self.keys.contains(&verified.key_id)?
        {
            return Ok(verified);
        }
        let verified = Arc::new(self.verify_signature(token).await?);
        self.verified.insert(hash, verified.clone());
        Ok(verified)
    }

    async fn verify_signature(&self, token: &str) -> Result<VerifiedAccessToken, Error> {
        let header = decode_header(token).map_err(|_| invalid_token())?;
        let key_id = header.kid.ok_or_else(invalid_token)?;
        let key = self.keys.find(&key_id).await?.ok_or_else(invalid_token)?;
        let claims = decode::<AccessTokenClaims>(token, &key, &claim_validation())
            .map_err(|_| invalid_token())?
            .claims;
        if claims.kind == ACCESS {
            Ok(VerifiedAccessToken { key_id, claims })
        } else {
            Err(invalid_token())
        }
    }
}

impl AccessTokenClaims {
    fn token_ref(&self) -> AccessTokenRef<'_> {
        AccessTokenRef {
            user_id: self.user_id,
            token_id: &self.jti,
            session_id: &self.sid,
            issued_at: self.iat,
        }
    }
}

fn invalid_token() -> Error {
    refused("invalid_token", "The access token is not valid.")
}

/// Returns the refusal of a request without a token.
pub fn missing_token() -> Error {
    refused("missing_token", "An access token is required.")
}

/// Returns the refusal of a token that has been revoked.
pub fn revoked_token() -> Error {
    refused("token_revoked", "The access token has been revoked.")
}

fn refused(code: &'static str, detail: &'static str) -> Error {
    Error::new(ErrorKind::Unauthenticated, code, detail)
}

/// Returns the token of an `Authorization: Bearer` header (RFC 6750), or `None` without the header.
pub fn parse_bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get(AUTHORIZATION) else {
        return Ok(None);
    };
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(invalid_token)?;
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() {
        Ok(Some(token))
    } else {
        Err(invalid_token())
    }
}

impl<S> FromRequestParts<S> for CurrentUser
where
    S: Send + Sync,
    TokenVerifier: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // The rate limiter has verified the token already.
        if let Some(current_user) = parts.extensions.get::<Self>() {
            return Ok(current_user.clone());
        }
        let token = parse_bearer(&parts.headers)?.ok_or_else(missing_token)?;
        Ok(TokenVerifier::from_ref(state).verify(token).await?)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};
    use talktime_kit::config::RedisConfig;
    use talktime_kit::testing::TestAuthority;
    use talktime_proto::access::v1::Workload;

    use super::*;
    use crate::clients::AuthClient;

    const NOW: i64 = 1_800_000_000;

    /// Returns a key of one repeated byte, in the encoding of RFC 8410.
    fn signing_key(seed: u8) -> EncodingKey {
        const FRAME: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        EncodingKey::from_ed_der(&[FRAME, &[seed; 32]].concat())
    }

    /// Returns a verifier that knows one key, `k1`, while auth and Redis are down.
    fn verifier() -> TokenVerifier {
        let mut jwk = Jwk::from_encoding_key(&signing_key(1), Algorithm::EdDSA).expect("a key");
        jwk.common.key_id = Some("k1".to_owned());
        let jwks = serde_json::to_string(&JwkSet { keys: vec![jwk] }).expect("JSON");
        let nowhere = RedisConfig {
            url: "redis://127.0.0.1:1".into(),
        };
        let redis = talktime_kit::redis::connect(&nowhere).expect("a valid address");
        let connector = TestAuthority::default().connector(Workload::Gateway);
        let auth = connector.connect(Workload::Auth, "https://127.0.0.1:1");
        let auth = AuthClient::new(auth.expect("a valid address"));
        let clock = Clock::manual(DateTime::from_timestamp(NOW, 0).expect("valid"));
        let revocations = RevocationList::new(auth, redis, clock.clone());
        TokenVerifier::new(SigningKeys::fixed(jwks), revocations, clock)
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
        let error = verifier().verify(token).await.expect_err("refused");
        error.code().to_owned()
    }

    #[tokio::test]
    async fn a_valid_token_is_refused_while_revocations_are_unknown() {
        let (tokens, token) = (verifier(), signed(&claims(), 1));
        for _ in ["verified", "cached"] {
            let error = tokens.verify(&token).await.expect_err("refused");
            assert_eq!(error.code(), "revocations_unavailable");
        }
    }

    #[tokio::test]
    async fn a_cached_token_expires_at_its_second() {
        let (tokens, token) = (verifier(), signed(&claims(), 1));
        assert!(tokens.verify(&token).await.is_err());
        assert_eq!(tokens.verified.len(), 1);
        tokens.clock.advance(chrono::TimeDelta::seconds(10));
        let error = tokens.verify(&token).await.expect_err("refused");
        assert_eq!(error.code(), "token_expired");
    }

    #[tokio::test]
    async fn a_token_expires_at_its_second() {
        let mut claims = claims();
        claims["exp"] = NOW.into();
        assert_eq!(refusal(&signed(&claims, 1)).await, "token_expired");
    }

    #[tokio::test]
    async fn other_kinds_of_tokens_are_refused() {
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
    async fn a_token_with_another_signature_is_refused() {
        assert_eq!(refusal(&signed(&claims(), 2)).await, "invalid_token");
        // A known attack: the public key is used as the secret of an HMAC.
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some("k1".to_owned());
        let secret = EncodingKey::from_secret(b"public key");
        let forged = encode(&header, &claims(), &secret).expect("signed");
        assert_eq!(refusal(&forged).await, "invalid_token");
    }

    fn parse(value: &'static str) -> Result<Option<String>, String> {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(value))]);
        parse_bearer(&headers)
            .map(|token| token.map(str::to_owned))
            .map_err(|error| error.code().to_owned())
    }

    #[test]
    fn the_scheme_is_not_case_sensitive() {
        assert_eq!(parse("Bearer abc"), Ok(Some("abc".to_owned())));
        assert_eq!(parse("bearer  abc "), Ok(Some("abc".to_owned())));
        assert_eq!(parse_bearer(&HeaderMap::new()).map_err(|_| ()), Ok(None));
    }

    #[test]
    fn a_malformed_header_is_an_invalid_token() {
        for value in ["", "Bearer", "Bearer ", "Basic abc", "abc"] {
            assert_eq!(parse(value), Err("invalid_token".to_owned()), "{value:?}");
        }
    }
}
