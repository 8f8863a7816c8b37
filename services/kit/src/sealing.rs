//! Encryption of values at rest, under a key that the database does not have.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use secrecy::{ExposeSecret, SecretString};

/// Seals values with AES-256-GCM.
pub struct SealingKey(RandomizedNonceKey);

/// The reason why a value could not be sealed or opened. No message contains the key or the value.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SealingError {
    /// The key does not have the right form.
    #[error("a key is not 64 hexadecimal digits")]
    InvalidKey,
    /// The value is too long, or there is no randomness.
    #[error("a value could not be sealed")]
    SealingFailed,
    /// The sealed value is shorter than its nonce.
    #[error("a sealed value is cut short")]
    CutShort,
    /// The sealed value was altered, or sealed with another key or for another owner.
    #[error("a sealed value was altered, or belongs to another key or owner")]
    NotOpened,
}

impl SealingKey {
    /// Returns the key with these 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`SealingError::InvalidKey`]
    pub fn from_hex(digits: &SecretString) -> Result<Self, SealingError> {
        let bytes = hex::decode(digits.expose_secret().trim());
        let bytes = bytes.map_err(|_| SealingError::InvalidKey)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes);
        Ok(Self(key.map_err(|_| SealingError::InvalidKey)?))
    }

    /// Returns a random nonce followed by the encrypted value and its tag. It opens for the same owner only,
    /// so that a row that is copied to another owner does not open.
    ///
    /// # Errors
    /// [`SealingError::SealingFailed`]
    pub fn seal(&self, owner: &str, value: &[u8]) -> Result<Vec<u8>, SealingError> {
        let mut encrypted = value.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(Aad::from(owner), &mut encrypted)
            .map_err(|_| SealingError::SealingFailed)?;
        Ok([nonce.as_ref().as_slice(), &encrypted].concat())
    }

    /// Returns the value that [`SealingKey::seal`] sealed for the same owner.
    ///
    /// # Errors
    /// [`SealingError::CutShort`] or [`SealingError::NotOpened`]
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, SealingError> {
        let (nonce, encrypted) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SealingError::CutShort)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut encrypted = encrypted.to_vec();
        let opened = self
            .0
            .open_in_place(nonce, Aad::from(owner), &mut encrypted);
        Ok(opened.map_err(|_| SealingError::NotOpened)?.to_vec())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(digit: char) -> SealingKey {
        let digits: String = std::iter::repeat_n(digit, 64).collect();
        SealingKey::from_hex(&digits.into()).expect("a key")
    }

    #[test]
    fn a_sealed_value_opens_for_its_own_owner_and_key_alone() {
        let sealed = key('1').seal("a", b"private").expect("sealed");
        assert_eq!(key('1').open("a", &sealed).expect("opened"), b"private");
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_eq!(key('1').open("b", &sealed), Err(SealingError::NotOpened));
        assert_eq!(key('2').open("a", &sealed), Err(SealingError::NotOpened));
    }

    #[test]
    fn a_damaged_value_does_not_open() {
        let mut sealed = key('1').seal("a", b"private").expect("sealed");
        assert_eq!(
            key('1').open("a", &sealed[..20]),
            Err(SealingError::NotOpened)
        );
        assert_eq!(key('1').open("a", &[]), Err(SealingError::CutShort));
        *sealed.last_mut().expect("not empty") ^= 1;
        assert_eq!(key('1').open("a", &sealed), Err(SealingError::NotOpened));
    }

    #[test]
    fn sealing_the_same_value_twice_gives_different_results() {
        let seal = || key('1').seal("a", b"private").expect("sealed");
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_wrong_key_is_refused() {
        for wrong in ["", "abc", "zz", &"1".repeat(62), &"1".repeat(66)] {
            let refused = SealingKey::from_hex(&wrong.into()).err();
            assert_eq!(refused, Some(SealingError::InvalidKey), "{wrong}");
        }
    }
}
