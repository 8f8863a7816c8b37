//! A keyed hash of a phone number, by which other services recognize the phone without knowing it.

use anyhow::{Context, ensure};
use aws_lc_rs::hmac;
use secrecy::{ExposeSecret, SecretString};

/// Length of the key in bytes.
const KEY_BYTES: usize = 32;

/// Hashes phone numbers with a key; cheap to clone.
#[derive(Clone, Debug)]
pub struct PhoneHasher(hmac::Key);

impl PhoneHasher {
    /// Reads the key: 32 bytes in hexadecimal.
    ///
    /// # Errors
    /// The key has another form.
    pub fn new(key: &SecretString) -> anyhow::Result<Self> {
        let key = hex::decode(key.expose_secret().trim());
        let key = key.context("PHONE_HASH_KEY: expected hexadecimal digits")?;
        ensure!(
            key.len() == KEY_BYTES,
            "PHONE_HASH_KEY: expected {KEY_BYTES} bytes"
        );
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// Returns the HMAC-SHA256 of a phone number in E.164.
    pub fn hash(&self, phone: &str) -> Vec<u8> {
        hmac::sign(&self.0, phone.as_bytes()).as_ref().to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_the_phone_and_on_the_key() {
        let hasher = |digit: &str| PhoneHasher::new(&digit.repeat(64).into()).expect("a key");
        let hash = hasher("a").hash("+919876543210");
        assert_eq!(hash.len(), 32);
        assert_eq!(hasher("a").hash("+919876543210"), hash);
        assert_ne!(hasher("a").hash("+919876543211"), hash);
        assert_ne!(hasher("b").hash("+919876543210"), hash);
    }

    #[test]
    fn a_key_has_thirty_two_bytes() {
        for wrong in ["", "secret", "abcd", &"a".repeat(66)] {
            assert!(PhoneHasher::new(&wrong.into()).is_err(), "{wrong}");
        }
    }
}
