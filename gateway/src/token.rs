//! Access tokens, verified on every request (contract, sections 1 and 2).

use axum::extract::{FromRef, FromRequestParts};
use chrono::{DateTime, Utc};
use http::request::Parts;
use talktime_kit::pace::FrequentPolls;
use talktime_kit::tokens::{AccessTokenVerifier, SigningKeys, UserToken, parse_bearer};
use talktime_kit::{Clock, Error, ErrorKind};

use crate::problem::Problem;
use crate::revocations::{AccessTokenRef, RevocationList};

/// The user who sent a valid access token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CurrentUser {
    /// The token's `user_id`.
    pub user_id: i64,
    /// The token itself, which travels with requests to services.
    pub token: UserToken,
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
    signatures: AccessTokenVerifier,
    revocations: RevocationList,
    clock: Clock,
}

impl TokenVerifier {
    /// Creates a verifier with an empty cache.
    pub fn new(keys: SigningKeys, revocations: RevocationList, clock: Clock) -> Self {
        Self {
            signatures: AccessTokenVerifier::new(keys),
            revocations,
            clock,
        }
    }

    /// Verifies a token and returns its user.
    ///
    /// # Errors
    /// The token is invalid, expired or revoked. The error is `Unavailable` when that cannot be determined: an outage
    /// never lets anyone in.
    pub async fn verify(&self, token: &str) -> Result<CurrentUser, Error> {
        let verified = self.signatures.verify(token).await?;
        let claims = &verified.claims;
        let expires_at = claims.expires_at()?;
        if expires_at <= self.clock.now() {
            return Err(refused("token_expired", "The access token has expired."));
        }
        let current_user = CurrentUser {
            user_id: claims.user_id,
            token: UserToken::new(token),
            token_id: claims.jti.clone(),
            session_id: claims.sid.clone(),
            issued_at: claims.iat,
            expires_at,
            auth_time: claims.auth_time,
        };
        if self.is_revoked(&current_user).await? {
            return Err(revoked_token());
        }
        Ok(current_user)
    }

    /// Keeps the revocations current until the answer is dropped, for a socket, which does not ask again.
    pub fn keep_revocations_current(&self) -> FrequentPolls {
        self.revocations.keep_current()
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
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
    use serde_json::{Value, json};
    use talktime_kit::config::RedisConfig;
    use talktime_kit::testing::{TestAuthority, TestTokens};
    use talktime_proto::access::v1::Workload;

    use super::*;
    use crate::clients::AuthClient;

    const NOW: i64 = 1_800_000_000;

    /// Returns a verifier that knows the key of `TestTokens`, while auth and Redis are down.
    fn verifier() -> TokenVerifier {
        let keys = SigningKeys::without_auth();
        let jwks_json = TestTokens::default().jwks_json();
        keys.replace(&jwks_json).expect("a key set");
        let nowhere = RedisConfig {
            url: "redis://127.0.0.1:1".into(),
            ca_file: None,
        };
        let redis = talktime_kit::redis::connect(&nowhere).expect("a valid address");
        let connector = TestAuthority::default().connector(Workload::Gateway);
        let auth = connector.connect(Workload::Auth, "https://127.0.0.1:1");
        let auth = AuthClient::new(auth.expect("a valid address"));
        let clock = Clock::manual(DateTime::from_timestamp(NOW, 0).expect("valid"));
        let revocations = RevocationList::new(auth, redis, clock.clone());
        TokenVerifier::new(keys, revocations, clock)
    }

    fn claims() -> Value {
        json!({
            "iss": "talktime", "aud": "talktime", "type": "access", "jti": "t1", "sid": "s1", "user_id": 7,
            "iat": NOW - 10, "exp": NOW + 10,
        })
    }

    fn signed(claims: &Value, seed: u8) -> String {
        TestTokens::from_seed("k1", seed).sign(claims)
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
}
