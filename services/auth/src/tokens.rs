//! Tokens as signed text: JWTs with an Ed25519 signature (RFC 8037), and the public key that
//! checks them.

use anyhow::Context;
use chrono::{DateTime, Utc};
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use secrecy::ExposeSecret;
use talktime_kit::Error;
use uuid::Uuid;

use crate::config::TokensConfig;
use crate::domain::claims::{AUDIENCE, Claims, Grant, ISSUER, Lifetimes};

/// Signs tokens and checks its own.
pub struct Issuer {
    header: Header,
    signing_key: EncodingKey,
    public_key: DecodingKey,
    validation: Validation,
    key_set: JwkSet,
    lifetimes: Lifetimes,
}

impl Issuer {
    /// An issuer with the configured key. Its `kid` is the key's thumbprint (RFC 7638), so that
    /// replicas agree on it.
    pub fn new(config: &TokensConfig) -> anyhow::Result<Self> {
        let pem = config.signing_key_pem.expose_secret();
        EncodingKey::from_ed_pem(pem.as_bytes())
            .map_err(anyhow::Error::from)
            .and_then(|key| Self::with_key(key, config.lifetimes))
            .context(WANTED_KEY)
    }

    /// An issuer with a key at hand.
    pub fn with_key(signing_key: EncodingKey, lifetimes: Lifetimes) -> anyhow::Result<Self> {
        let mut jwk = Jwk::from_encoding_key(&signing_key, Algorithm::EdDSA)?;
        let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(kid.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(kid);
        Ok(Self {
            header,
            signing_key,
            public_key: DecodingKey::from_jwk(&jwk)?,
            validation: validation(),
            key_set: JwkSet { keys: vec![jwk] },
            lifetimes,
        })
    }

    /// How long the tokens hold.
    pub fn lifetimes(&self) -> &Lifetimes {
        &self.lifetimes
    }

    /// The public keys (RFC 7517).
    pub fn key_set(&self) -> &JwkSet {
        &self.key_set
    }

    /// A new token.
    pub fn issue(&self, jti: Uuid, now: DateTime<Utc>, grant: Grant) -> Result<String, Error> {
        let claims = Claims::new(jti, now, &self.lifetimes, grant);
        jsonwebtoken::encode(&self.header, &claims, &self.signing_key).map_err(Error::internal)
    }

    /// What a token says; `None` when it is not ours, was altered, or no longer holds.
    pub fn check(&self, token: &str, now: DateTime<Utc>) -> Option<Claims> {
        let token = jsonwebtoken::decode::<Claims>(token, &self.public_key, &self.validation);
        token
            .ok()
            .map(|token| token.claims)
            .filter(|claims| !claims.is_expired(now))
    }
}

const WANTED_KEY: &str = "TALKTIME_AUTH__TOKENS__SIGNING_KEY_PEM must be an Ed25519 private key, \
                          PKCS#8 in PEM (openssl genpkey -algorithm ed25519)";

/// The one algorithm, issuer and audience. The time is ours to compare, with our clock.
fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_required_spec_claims(&["iss", "aud", "exp"]);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.validate_exp = false;
    validation
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;
    use crate::domain::claims::Session;

    /// An issuer with a key made of `seed`: RFC 8410's frame around it.
    fn issuer(seed: u8) -> Issuer {
        const FRAME: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
        let der = [FRAME, &[seed; 32]].concat();
        Issuer::with_key(EncodingKey::from_ed_der(&der), Lifetimes::default()).expect("a key")
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_750_000_000, 0).expect("valid")
    }

    fn access() -> Grant {
        Grant::Access(Session {
            user_id: 42,
            session_id: Uuid::from_u128(9),
        })
    }

    #[test]
    fn a_token_is_read_by_its_issuer_until_it_expires() {
        let issuer = issuer(1);
        let jti = Uuid::from_u128(7);
        let token = issuer.issue(jti, now(), access()).expect("signed");
        let claims = issuer.check(&token, now()).expect("holds");
        assert_eq!((claims.jti, claims.grant), (jti, access()));
        let half_an_hour = TimeDelta::seconds(1_800);
        assert!(issuer.check(&token, now() + half_an_hour).is_none());
    }

    #[test]
    fn what_others_signed_or_somebody_altered_is_refused() {
        let token = issuer(1)
            .issue(Uuid::nil(), now(), access())
            .expect("signed");
        assert!(issuer(2).check(&token, now()).is_none());
        let mut altered = token.clone();
        altered.replace_range(altered.len() - 10..altered.len() - 9, "~");
        assert!(issuer(1).check(&altered, now()).is_none());
        assert!(issuer(1).check("", now()).is_none());
        assert!(issuer(1).check("a.b.c", now()).is_none());
    }

    /// The classic: the public key taken for an HMAC secret, or no algorithm at all.
    #[test]
    fn the_algorithm_is_pinned() {
        let issuer = issuer(1);
        let claims = Claims::new(Uuid::nil(), now(), issuer.lifetimes(), access());
        let secret = serde_json::to_vec(issuer.key_set()).expect("json");
        let forged = jsonwebtoken::encode(
            &Header::new(Algorithm::HS256),
            &claims,
            &EncodingKey::from_secret(&secret),
        )
        .expect("signed");
        assert!(issuer.check(&forged, now()).is_none());
    }

    #[test]
    fn another_issuer_or_audience_is_refused() {
        let issuer = issuer(1);
        let ours = Claims::new(Uuid::nil(), now(), issuer.lifetimes(), access());
        let mut other_issuer = ours.clone();
        other_issuer.iss = "elsewhere".into();
        let mut other_audience = ours;
        other_audience.aud = "elsewhere".into();
        for claims in [other_issuer, other_audience] {
            let token = jsonwebtoken::encode(&issuer.header, &claims, &issuer.signing_key);
            assert!(issuer.check(&token.expect("signed"), now()).is_none());
        }
    }

    #[test]
    fn the_key_set_holds_the_public_half_alone() {
        let key_set = serde_json::to_value(issuer(1).key_set()).expect("json");
        let key = key_set["keys"][0].as_object().expect("a key");
        let mut names: Vec<&str> = key.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"]);
        assert_eq!(key["kty"], "OKP");
        assert_eq!(key["crv"], "Ed25519");
        assert_eq!(key["alg"], "EdDSA");
    }

    #[test]
    fn a_key_of_another_kind_is_refused_with_the_name_of_its_variable() {
        let config = TokensConfig {
            signing_key_pem: "-----BEGIN NONSENSE-----".into(),
            lifetimes: Lifetimes::default(),
            refresh_grace_secs: 0,
        };
        let error = Issuer::new(&config).err().expect("no key");
        assert!(error.to_string().contains("SIGNING_KEY_PEM"), "{error}");
    }
}
