//! Tokens as signed text: JWTs with an Ed25519 signature (RFC 8037).

use std::sync::{Arc, PoisonError, RwLock};

use chrono::{DateTime, Utc};
use jsonwebtoken::{Validation, decode, decode_header};
use talktime_kit::tokens::claim_validation;
use talktime_kit::{Error, ErrorKind};
use uuid::Uuid;

use crate::domain::claims::{TokenClaims, TokenGrant, TokenLifetimes};
use crate::keyring::TokenKeyRing;

/// Signs tokens and checks its own.
pub struct TokenIssuer {
    /// None before the database has answered.
    ring: RwLock<Option<Arc<TokenKeyRing>>>,
    validation: Validation,
    lifetimes: TokenLifetimes,
}

impl TokenIssuer {
    /// An issuer that waits for its keys.
    pub fn new(lifetimes: TokenLifetimes) -> Self {
        Self {
            ring: RwLock::default(),
            validation: claim_validation(),
            lifetimes,
        }
    }

    /// An issuer with keys at hand.
    pub fn with_ring(ring: TokenKeyRing, lifetimes: TokenLifetimes) -> Self {
        let issuer = Self::new(lifetimes);
        issuer.use_ring(ring);
        issuer
    }

    /// Signs and checks with these keys from now on; returns whether the signing key has changed.
    pub fn use_ring(&self, ring: TokenKeyRing) -> bool {
        let mut current = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        let has_changed = current
            .as_ref()
            .is_none_or(|previous| previous.signing_key_id() != ring.signing_key_id());
        *current = Some(Arc::new(ring));
        has_changed
    }

    /// Returns the current keys, or the error `keys_unavailable` before they are loaded.
    pub fn current_ring(&self) -> Result<Arc<TokenKeyRing>, Error> {
        let current = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        current.clone().ok_or_else(|| {
            Error::new(
                ErrorKind::Unavailable,
                "keys_unavailable",
                "Please try again in a moment.",
            )
        })
    }

    /// Lifetimes of the tokens.
    pub fn lifetimes(&self) -> &TokenLifetimes {
        &self.lifetimes
    }

    /// Signs a new token.
    pub fn issue_token(
        &self,
        jti: Uuid,
        now: DateTime<Utc>,
        grant: TokenGrant,
    ) -> Result<String, Error> {
        self.sign(&TokenClaims::new(jti, now, &self.lifetimes, grant))
    }

    /// Signs a new token of a session whose login was at `auth_time`, in unix seconds.
    pub fn issue_session_token(
        &self,
        jti: Uuid,
        now: DateTime<Utc>,
        grant: TokenGrant,
        auth_time: i64,
    ) -> Result<String, Error> {
        let claims = TokenClaims::new(jti, now, &self.lifetimes, grant);
        self.sign(&claims.with_login(auth_time, &self.lifetimes))
    }

    fn sign(&self, claims: &TokenClaims) -> Result<String, Error> {
        let ring = self.current_ring()?;
        ring.sign(claims).map_err(Error::internal)
    }

    /// Checks a token and returns its claims; `None` if it is not ours, was altered or has expired.
    pub fn check_token(
        &self,
        token: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<TokenClaims>, Error> {
        let ring = self.current_ring()?;
        let claims = self.verify_signature(&ring, token);
        Ok(claims.filter(|claims| !claims.is_expired(now)))
    }

    fn verify_signature(&self, ring: &TokenKeyRing, token: &str) -> Option<TokenClaims> {
        let key_id = decode_header(token).ok()?.kid?;
        let key = ring.public_key(&key_id)?;
        let token = decode::<TokenClaims>(token, key, &self.validation).ok()?;
        Some(token.claims)
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};

    use super::*;
    use crate::domain::claims::UserSession;
    use crate::keyring::Ed25519PrivateKey;

    /// A key made of `seed`: RFC 8410's frame around it.
    fn key(seed: u8) -> Ed25519PrivateKey {
        const FRAME: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        Ed25519PrivateKey::from_der(&[FRAME, &[seed; 32]].concat()).expect("a key")
    }

    fn ring(signing: u8, others: &[u8]) -> TokenKeyRing {
        let others: Vec<Ed25519PrivateKey> = others.iter().map(|seed| key(*seed)).collect();
        TokenKeyRing::new(key(signing), &others).expect("a ring")
    }

    fn issuer(seed: u8) -> TokenIssuer {
        TokenIssuer::with_ring(ring(seed, &[]), TokenLifetimes::default())
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000, 0).expect("valid")
    }

    fn access() -> TokenGrant {
        TokenGrant::Access(UserSession {
            user_id: 42,
            session_id: Uuid::from_u128(9),
        })
    }

    fn issue(issuer: &TokenIssuer) -> String {
        issuer
            .issue_token(Uuid::from_u128(7), now(), access())
            .expect("signed")
    }

    fn check(issuer: &TokenIssuer, token: &str) -> Option<TokenClaims> {
        issuer.check_token(token, now()).expect("keys are there")
    }

    #[test]
    fn a_token_is_read_by_its_issuer_until_it_expires() {
        let issuer = issuer(1);
        let token = issue(&issuer);
        let claims = check(&issuer, &token).expect("holds");
        assert_eq!((claims.jti, claims.grant), (Uuid::from_u128(7), access()));
        let half_an_hour = TimeDelta::seconds(1_800);
        let later = issuer.check_token(&token, now() + half_an_hour);
        assert_eq!(later.expect("keys are there"), None);
    }

    #[test]
    fn foreign_and_altered_tokens_are_refused() {
        let token = issue(&issuer(1));
        assert_eq!(check(&issuer(2), &token), None);
        let mut altered = token.clone();
        altered.replace_range(altered.len() - 10..altered.len() - 9, "~");
        for wrong in [altered.as_str(), "", "a.b.c"] {
            assert_eq!(check(&issuer(1), wrong), None);
        }
    }

    #[test]
    fn tokens_of_the_previous_key_stay_valid_until_it_is_retired() {
        let issuer = issuer(1);
        let old = issue(&issuer);
        assert!(!issuer.use_ring(ring(1, &[2])), "only published");
        assert!(issuer.use_ring(ring(2, &[1])));
        let new = issue(&issuer);
        let key_id_of = |token: &str| decode_header(token).expect("a JWT").kid;
        assert_ne!(key_id_of(&old), key_id_of(&new));
        assert!(check(&issuer, &old).is_some() && check(&issuer, &new).is_some());
        issuer.use_ring(ring(2, &[]));
        assert!(check(&issuer, &old).is_none() && check(&issuer, &new).is_some());
    }

    #[test]
    fn without_keys_requests_are_refused_as_retryable() {
        let issuer = TokenIssuer::new(TokenLifetimes::default());
        let error = issuer.check_token("a.b.c", now()).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }

    /// Known attacks: the public key used as an HMAC secret, or no algorithm at all.
    #[test]
    fn the_algorithm_is_pinned() {
        let issuer = issuer(1);
        let claims = TokenClaims::new(Uuid::nil(), now(), issuer.lifetimes(), access());
        let ring = issuer.current_ring().expect("keys");
        let secret = EncodingKey::from_secret(ring.jwks_json().as_bytes());
        let mut header = Header::new(Algorithm::HS256);
        header.kid = Some(ring.signing_key_id().to_owned());
        let forged = encode(&header, &claims, &secret).expect("signed");
        assert_eq!(check(&issuer, &forged), None);
    }

    #[test]
    fn another_issuer_or_audience_is_refused() {
        let issuer = issuer(1);
        let ring = issuer.current_ring().expect("keys");
        let ours = TokenClaims::new(Uuid::nil(), now(), issuer.lifetimes(), access());
        let mut other_issuer = ours.clone();
        other_issuer.iss = "elsewhere".into();
        let mut other_audience = ours;
        other_audience.aud = "elsewhere".into();
        for claims in [other_issuer, other_audience] {
            let token = ring.sign(&claims).expect("signed");
            assert_eq!(check(&issuer, &token), None);
        }
    }
}
