//! Private keys at rest: encrypted under a key that the database does not have.

use anyhow::{Context, anyhow};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrecy::{ExposeSecret, SecretString};

const WANTED_KEY: &str =
    "TALKTIME_AUTH__TOKENS__SEALING_KEY must be 64 hexadecimal digits (openssl rand -hex 32)";

/// Seals private keys with AES-256-GCM.
pub struct SealingKey(RandomizedNonceKey);

impl SealingKey {
    /// The key of 64 hexadecimal digits.
    pub fn new(digits: &SecretString) -> anyhow::Result<Self> {
        let bytes = hex::decode(digits.expose_secret()).context(WANTED_KEY)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes);
        Ok(Self(key.map_err(|_| anyhow!(WANTED_KEY))?))
    }

    /// A nonce, then the private key encrypted with its tag. It opens under the same id only.
    pub fn seal(&self, key_id: &str, private_key: &[u8]) -> anyhow::Result<Vec<u8>> {
        let mut encrypted = private_key.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(key_id), &mut encrypted)
            .map_err(|_| anyhow!("a key could not be sealed"))?;
        Ok([nonce.as_ref().as_slice(), &encrypted].concat())
    }

    /// The private key again.
    pub fn open(&self, key_id: &str, sealed: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (nonce, encrypted) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .context("a sealed key is cut short")?;
        let mut encrypted = encrypted.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(key_id), &mut encrypted);
        let opened = opened.map_err(|_| {
            anyhow!("key {key_id} was sealed under another TALKTIME_AUTH__TOKENS__SEALING_KEY")
        })?;
        Ok(opened.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: char) -> SealingKey {
        let digits: String = std::iter::repeat_n(digit, 64).collect();
        SealingKey::new(&digits.into()).expect("a key")
    }

    #[test]
    fn a_sealed_key_opens_under_its_own_id_and_sealing_key_alone() {
        let sealed = key('1').seal("a", b"private").expect("sealed");
        assert_eq!(key('1').open("a", &sealed).expect("opened"), b"private");
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert!(key('1').open("b", &sealed).is_err());
        assert!(key('2').open("a", &sealed).is_err());
        assert!(key('1').open("a", &sealed[..20]).is_err());
        assert!(key('1').open("a", &[]).is_err());
    }

    #[test]
    fn a_wrong_key_is_refused_with_the_name_of_its_variable() {
        for wrong in ["", "abc", "zz", &"1".repeat(62), &"1".repeat(66)] {
            let error = SealingKey::new(&wrong.into()).err().expect("refused");
            assert!(
                error.to_string().contains("SEALING_KEY"),
                "{wrong}: {error}"
            );
        }
    }
}
