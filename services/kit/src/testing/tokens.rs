//! Access tokens for tests, signed as auth signs them.

use jsonwebtoken::jwk::{Jwk, JwkSet};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use talktime_proto::auth::{TOKEN_AUDIENCE, TOKEN_ISSUER};
use tonic::Request;
use uuid::Uuid;

use crate::grpc::USER_TOKEN;
use crate::sealing::SealingKey;

/// Begins a key in the encoding of RFC 8410.
const FRAME: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
/// The end of tokens of tests that do not depend on it, in seconds since 1970: in the year 2100.
const FAR_FUTURE: i64 = 4_102_444_800;

/// A key that signs tokens.
pub struct TestTokens {
    key_id: String,
    key: EncodingKey,
}

impl Default for TestTokens {
    /// Returns the key `k1`.
    fn default() -> Self {
        Self::from_seed("k1", 1)
    }
}

impl TestTokens {
    /// Returns a key of one repeated byte, under this id.
    pub fn from_seed(key_id: &str, seed: u8) -> Self {
        Self::from_der(key_id, &[FRAME, &[seed; 32]].concat())
    }

    /// Returns the key with this PKCS#8 document, under this id.
    pub fn from_der(key_id: &str, der: &[u8]) -> Self {
        Self {
            key_id: key_id.to_owned(),
            key: EncodingKey::from_ed_der(der),
        }
    }

    /// Returns the id of the key.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Returns the key set with the public half (RFC 7517).
    pub fn jwks_json(&self) -> String {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::EdDSA).expect("a key");
        jwk.common.key_id = Some(self.key_id.clone());
        serde_json::to_string(&JwkSet { keys: vec![jwk] }).expect("JSON")
    }

    /// Returns the claims of an access token of this user, which practically does not expire.
    pub fn claims(&self, user_id: i64) -> Value {
        json!({
            "iss": TOKEN_ISSUER, "aud": TOKEN_AUDIENCE, "type": "access", "jti": Uuid::nil(), "sid": Uuid::nil(),
            "user_id": user_id, "iat": 1_800_000_000, "exp": FAR_FUTURE, "auth_time": 1_800_000_000,
        })
    }

    /// Returns a token of this user.
    pub fn sign_for(&self, user_id: i64) -> String {
        self.sign(&self.claims(user_id))
    }

    /// Signs claims.
    pub fn sign(&self, claims: &Value) -> String {
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_id.clone());
        encode(&header, claims, &self.key).expect("signed")
    }
}

/// Returns the key with which auth of the test stack signs. Needs the variables of `cargo dev env`.
pub async fn stack_tokens() -> TestTokens {
    let database = super::variable("AUTH_APP_DATABASE_URL");
    let mut database = PgConnection::connect(&database).await.expect("connected");
    let (key_id, sealed): (String, Vec<u8>) = sqlx::query_as(
        "SELECT key_id, sealed_key FROM auth.signing_keys
         WHERE signs_from IS NOT NULL AND signs_until IS NULL",
    )
    .fetch_one(&mut database)
    .await
    .expect("a key signs");
    let sealing = std::fs::read_to_string(super::variable("TOKEN_SEALING_KEY_FILE"));
    let sealing = SealingKey::from_hex(&sealing.expect("a key").into()).expect("a key");
    let der = sealing
        .open(&key_id, &sealed)
        .expect("the key of the stack");
    TestTokens::from_der(&key_id, &der)
}

/// Returns a request that carries the token of a user, as those of the gateway do.
pub fn request_with_token<T>(token: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let value = token.parse().expect("a token is visible ASCII");
    request.metadata_mut().insert(USER_TOKEN, value);
    request
}
