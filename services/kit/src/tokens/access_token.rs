//! Access tokens: their claims, and the verification of their signatures.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use jsonwebtoken::{decode, decode_header};
use quick_cache::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{SigningKeys, claim_validation, invalid_token};
use crate::error::Error;

/// The `type` of access tokens.
const ACCESS: &str = "access";
/// Verifying a signature takes longer than everything else that is done for a small request, so this many verified tokens
/// are cached, at a few hundred bytes each. The least used ones are dropped first.
const VERIFIED_MAX: usize = 50_000;

/// Verifies the signatures and claims of access tokens, but neither their end nor revocations; cheap to clone.
#[derive(Clone)]
pub struct AccessTokenVerifier {
    keys: SigningKeys,
    /// Keyed by the token's hash, so that no token is stored in memory.
    verified: Arc<Cache<[u8; 32], Arc<VerifiedAccessToken>>>,
}

/// A token with a valid signature and valid claims. It may have expired or been revoked since.
#[derive(Debug)]
pub struct VerifiedAccessToken {
    key_id: String,
    /// The content that auth has signed.
    pub claims: AccessTokenClaims,
}

/// The claims of an access token.
#[derive(Debug, Deserialize)]
pub struct AccessTokenClaims {
    /// The user whose token it is.
    pub user_id: i64,
    /// The identity of the token.
    pub jti: String,
    /// The session that it belongs to.
    pub sid: String,
    /// The time of its issue, in seconds since 1970, like `exp`.
    pub iat: i64,
    exp: i64,
    /// The login of its session, in seconds since 1970. Tokens from before it was kept have none.
    #[serde(default)]
    pub auth_time: Option<i64>,
    #[serde(rename = "type")]
    kind: String,
}

impl AccessTokenClaims {
    /// Returns the end of the token.
    ///
    /// # Errors
    /// `invalid_token`: the end is no time.
    pub fn expires_at(&self) -> Result<DateTime<Utc>, Error> {
        DateTime::from_timestamp(self.exp, 0).ok_or_else(invalid_token)
    }
}

impl AccessTokenVerifier {
    /// Creates a verifier with an empty cache.
    pub fn new(keys: SigningKeys) -> Self {
        Self {
            keys,
            verified: Arc::new(Cache::new(VERIFIED_MAX)),
        }
    }

    /// Returns the keys with which tokens are verified.
    pub fn keys(&self) -> &SigningKeys {
        &self.keys
    }

    /// Verifies a token, or returns what was found the last time, as long as the key of the token is published.
    ///
    /// # Errors
    /// The token is invalid. The error is `Unavailable` while that cannot be determined.
    pub async fn verify(&self, token: &str) -> Result<Arc<VerifiedAccessToken>, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestTokens;

    #[tokio::test]
    async fn a_signature_is_verified_once_and_again_when_its_key_is_retired() {
        let tokens = TestTokens::default();
        let keys = SigningKeys::without_auth();
        keys.replace(&tokens.jwks_json()).expect("a key set");
        let verifier = AccessTokenVerifier::new(keys.clone());
        let token = tokens.sign(&tokens.claims(7));
        for _ in ["verified", "cached"] {
            let verified = verifier.verify(&token).await.expect("valid");
            assert_eq!(verified.claims.user_id, 7);
            assert_eq!(verifier.verified.len(), 1);
        }
        keys.replace(r#"{"keys":[]}"#).expect("a key set");
        let error = verifier.verify(&token).await.expect_err("refused");
        assert_eq!(error.code(), "invalid_token");
    }

    #[tokio::test]
    async fn tokens_are_unknown_before_the_keys_are() {
        let tokens = TestTokens::default();
        let verifier = AccessTokenVerifier::new(SigningKeys::without_auth());
        let token = tokens.sign(&tokens.claims(7));
        let error = verifier.verify(&token).await.expect_err("refused");
        assert_eq!(error.code(), "keys_unavailable");
    }
}
