//! The keys of tokens: one that signs, and all whose tokens are accepted.

use std::collections::HashMap;

use anyhow::{Context, anyhow};
use aws_lc_rs::signature::Ed25519KeyPair;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, encode};
use serde::Serialize;

/// An Ed25519 key (RFC 8037). Its id is its thumbprint (RFC 7638), which everybody can compute from the public key.
pub struct Ed25519PrivateKey {
    key_id: String,
    jwk: Jwk,
    encoding_key: EncodingKey,
}

impl Ed25519PrivateKey {
    /// Generates a key, as PKCS#8 in DER.
    pub fn generate() -> anyhow::Result<Vec<u8>> {
        let pair = Ed25519KeyPair::generate().map_err(|_| anyhow!("no key could be made"))?;
        let der = pair
            .to_pkcs8v1()
            .map_err(|_| anyhow!("no key could be made"))?;
        Ok(der.as_ref().to_vec())
    }

    /// Parses a key from PKCS#8 in DER.
    pub fn from_der(der: &[u8]) -> anyhow::Result<Self> {
        let encoding_key = EncodingKey::from_ed_der(der);
        let mut jwk = Jwk::from_encoding_key(&encoding_key, Algorithm::EdDSA)?;
        let key_id = jwk.thumbprint(ThumbprintHash::SHA256)?;
        jwk.common.key_id = Some(key_id.clone());
        jwk.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self {
            key_id,
            jwk,
            encoding_key,
        })
    }

    /// The `kid` of its tokens.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }
}

/// The keys of one moment.
pub struct TokenKeyRing {
    /// The header of every new token, which names the key that signs.
    header: Header,
    signing_key: EncodingKey,
    public_keys: HashMap<String, DecodingKey>,
    jwks_json: String,
}

impl TokenKeyRing {
    /// `signing` signs; tokens of the others are accepted as well.
    pub fn new(signing: Ed25519PrivateKey, others: &[Ed25519PrivateKey]) -> anyhow::Result<Self> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(signing.key_id.clone());
        let mut jwks = JwkSet { keys: Vec::new() };
        let mut public_keys = HashMap::new();
        for key in std::iter::once(&signing).chain(others) {
            public_keys.insert(key.key_id.clone(), DecodingKey::from_jwk(&key.jwk)?);
            jwks.keys.push(key.jwk.clone());
        }
        Ok(Self {
            header,
            signing_key: signing.encoding_key,
            public_keys,
            jwks_json: serde_json::to_string(&jwks).context("a key set is plain strings")?,
        })
    }

    /// The id of the key that signs.
    pub fn signing_key_id(&self) -> &str {
        self.header.kid.as_deref().unwrap_or_default()
    }

    /// Signs a new token with these claims. The same claims always give the same token.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> jsonwebtoken::errors::Result<String> {
        encode(&self.header, claims, &self.signing_key)
    }

    /// The public keys (RFC 7517), the one that signs first.
    pub fn jwks_json(&self) -> &str {
        &self.jwks_json
    }

    pub(crate) fn public_key(&self, key_id: &str) -> Option<&DecodingKey> {
        self.public_keys.get(key_id)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn key() -> Ed25519PrivateKey {
        Ed25519PrivateKey::from_der(&Ed25519PrivateKey::generate().expect("made")).expect("a key")
    }

    #[test]
    fn the_key_set_holds_the_public_halves_alone() {
        let (signing, other) = (key(), key());
        let key_ids = [signing.key_id.clone(), other.key_id.clone()];
        let ring = TokenKeyRing::new(signing, &[other]).expect("a ring");
        let set: Value = serde_json::from_str(ring.jwks_json()).expect("JSON");
        let keys = set["keys"].as_array().expect("keys");
        let listed: Vec<&str> = keys.iter().filter_map(|key| key["kid"].as_str()).collect();
        assert_eq!(listed, key_ids);
        assert_eq!(ring.signing_key_id(), key_ids[0]);
        for key in keys {
            let key = key.as_object().expect("a key");
            let mut names: Vec<&str> = key.keys().map(String::as_str).collect();
            names.sort_unstable();
            assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x"]);
            assert_eq!((&key["kty"], &key["alg"]), (&"OKP".into(), &"EdDSA".into()));
            assert_eq!(key["crv"], "Ed25519");
        }
    }

    #[test]
    fn an_invalid_key_is_refused() {
        assert!(Ed25519PrivateKey::from_der(b"").is_err());
        assert!(Ed25519PrivateKey::from_der(b"nonsense").is_err());
    }
}
