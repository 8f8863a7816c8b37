//! Encrypted tokens in compact form (RFC 7516), of the one kind that Play Integrity makes: a content key that is wrapped
//! with AES-256 (A256KW), and content that is encrypted with AES-256-GCM.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrap as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

const KEY_WRAP: &str = "A256KW";
const CONTENT_ENCRYPTION: &str = "A256GCM";
const TAG_LEN: usize = 16;

/// The header of an encrypted token. Extensions that a reader must understand (`crit`) and compression (`zip`) are
/// refused, since nothing here would apply them.
#[derive(Deserialize)]
struct ProtectedHeader {
    alg: String,
    enc: String,
    #[serde(default)]
    zip: Option<serde_json::Value>,
    #[serde(default)]
    crit: Option<serde_json::Value>,
}

impl ProtectedHeader {
    fn is_supported(&self) -> bool {
        self.alg == KEY_WRAP
            && self.enc == CONTENT_ENCRYPTION
            && self.zip.is_none()
            && self.crit.is_none()
    }
}

/// Returns the content of a token that was encrypted with this key of 32 bytes; `None` if it was not, or was altered.
pub(super) fn decrypt(token: &str, key: &[u8]) -> Option<Vec<u8>> {
    let parts: Vec<&str> = token.splitn(6, '.').collect();
    let [header, wrapped_key, nonce, content, tag]: [&str; 5] = parts.try_into().ok()?;
    let protected: ProtectedHeader = serde_json::from_slice(&decode(header)?).ok()?;
    if !protected.is_supported() {
        return None;
    }
    let nonce = Nonce::try_assume_unique_for_key(&decode(nonce)?).ok()?;
    let tag: [u8; TAG_LEN] = decode(tag)?.try_into().ok()?;
    let mut content = decode(content)?;
    content.extend(tag);
    let opened = unwrap_content_key(&decode(wrapped_key)?, key)?
        .open_in_place(nonce, Aad::from(header.as_bytes()), &mut content)
        .ok()?;
    Some(opened.to_vec())
}

fn unwrap_content_key(wrapped: &[u8], key: &[u8]) -> Option<LessSafeKey> {
    let mut unwrapped = vec![0; wrapped.len()];
    let wrapping = AesKek::new(&AES_256, key).ok()?;
    let unwrapped = wrapping.unwrap(wrapped, &mut unwrapped).ok()?;
    let key = UnboundKey::new(&AES_256_GCM, unwrapped).ok()?;
    Some(LessSafeKey::new(key))
}

fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}
