//! Attestations for tests, signed as a developer's machine signs them.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::json;

/// A key that signs attestations.
pub struct TestAttestationKey(EncodingKey);

impl TestAttestationKey {
    /// Returns the key that auth of the stack trusts. Needs the variables of `cargo dev env`.
    pub fn of_stack() -> Self {
        let pem = std::fs::read(super::variable("ATTESTATION_KEY_FILE"));
        let key = EncodingKey::from_ec_pem(&pem.expect("a file"));
        Self(key.expect("a key in PEM"))
    }

    /// Returns a new key, which nobody trusts.
    pub fn generate() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("generated");
        let document = pair.to_pkcs8v1().expect("a document");
        Self(EncodingKey::from_ec_der(document.as_ref()))
    }

    /// Signs the nonce of a request at a time in seconds since 1970. Attestations with different `jti` differ; the
    /// signature of the same content differs each time.
    pub fn sign(&self, nonce: &str, issued_at: i64, jti: &str) -> String {
        let claims = json!({"nonce": nonce, "iat": issued_at, "jti": jti});
        encode(&Header::new(Algorithm::ES256), &claims, &self.0).expect("signed")
    }
}
