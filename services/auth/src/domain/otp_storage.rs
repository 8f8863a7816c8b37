//! The form in which one-time passwords are stored.

use std::sync::Arc;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use rand::CryptoRng;
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

use super::{OneTimePassword, OtpChallenge, PhoneNumber};

/// The purpose for which the key is derived from one that has another use as well.
const KEY_PURPOSE: &[u8] = b"talktime one-time passwords";
const DIGITS_PURPOSE: &str = "digits";
const STORED_PURPOSE: &str = "stored";

/// How Redis stores one-time passwords.
#[derive(Clone, Debug)]
pub enum OtpStorage {
    /// As digits, which developers and testers read there where no messages are sent.
    Digits,
    /// As hashes under a key that Redis does not have, so that whoever reads Redis cannot log in. A million passwords
    /// are soon tried without such a key.
    ///
    /// A hash cannot be sent again, so a password follows from the id of its challenge and the key.
    Hashed(Arc<Key>),
}

impl OtpStorage {
    /// Returns the storage in hashes, whose key follows from the sealing key of auth.
    pub fn hashed(sealing_key: &SecretString) -> Self {
        let sealing_key = Key::new(HMAC_SHA256, sealing_key.expose_secret().as_bytes());
        let key = sign(&sealing_key, KEY_PURPOSE);
        Self::Hashed(Arc::new(Key::new(HMAC_SHA256, key.as_ref())))
    }

    /// Generates a password and the id of its challenge; all million are equally likely.
    pub fn generate(&self, rng: &mut impl CryptoRng) -> OtpChallenge {
        let id = Uuid::new_v4();
        let otp = match self {
            Self::Digits => OneTimePassword::generate(rng),
            Self::Hashed(key) => derive_digits(key, id),
        };
        OtpChallenge { id, otp }
    }

    /// Returns what is stored of a password of this phone: its digits, or their hash.
    pub fn seal(&self, phone: &PhoneNumber, digits: &str) -> OneTimePassword {
        OneTimePassword::from_stored(match self {
            Self::Digits => digits.to_owned(),
            Self::Hashed(key) => {
                let text = format!("{STORED_PURPOSE}:{phone}:{digits}");
                hex::encode(sign(key, text.as_bytes()))
            }
        })
    }

    /// Returns the password that was stored like this, or `None` if it is of another storage or key.
    pub fn open(
        &self,
        phone: &PhoneNumber,
        stored: OneTimePassword,
        challenge_id: Option<Uuid>,
    ) -> Option<OneTimePassword> {
        match self {
            Self::Digits => Some(stored),
            Self::Hashed(key) => {
                let otp = derive_digits(key, challenge_id?);
                (self.seal(phone, otp.expose()) == stored).then_some(otp)
            }
        }
    }
}

fn derive_digits(key: &Key, challenge_id: Uuid) -> OneTimePassword {
    let text = format!("{DIGITS_PURPOSE}:{challenge_id}");
    let tag = sign(key, text.as_bytes());
    let bytes = tag.as_ref().first_chunk().expect("a tag has 32 bytes");
    OneTimePassword::from_number(u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phone(text: &str) -> PhoneNumber {
        PhoneNumber::parse(text).expect("a phone")
    }

    fn storage(key: &str) -> OtpStorage {
        OtpStorage::hashed(&key.to_owned().into())
    }

    #[test]
    fn a_hash_opens_with_its_key_phone_and_challenge_alone() {
        let (ours, ravi) = (storage("key"), phone("+919876543210"));
        let sent = ours.generate(&mut rand::rng());
        let stored = ours.seal(&ravi, sent.otp.expose());
        let id = Some(sent.id);
        assert_eq!(ours.open(&ravi, stored.clone(), id), Some(sent.otp));
        let other = phone("+919876543211");
        assert_eq!(ours.open(&other, stored.clone(), id), None);
        assert_eq!(ours.open(&ravi, stored.clone(), None), None);
        assert_eq!(storage("other").open(&ravi, stored, id), None);
    }

    #[test]
    fn a_hash_does_not_contain_the_digits_and_differs_between_phones() {
        let ours = storage("key");
        let stored = ours.seal(&phone("+919876543210"), "123456");
        assert_eq!(stored.expose().len(), 64);
        assert_ne!(stored, ours.seal(&phone("+919876543211"), "123456"));
        assert_ne!(stored, ours.seal(&phone("+919876543210"), "123457"));
    }

    #[test]
    fn passwords_differ_and_have_six_digits() {
        let ours = storage("key");
        let first = ours.generate(&mut rand::rng());
        let differs = |_| ours.generate(&mut rand::rng()).otp != first.otp;
        assert!((0..100).any(differs));
        assert!(first.otp.expose().bytes().all(|byte| byte.is_ascii_digit()));
        assert_eq!(first.otp.expose().len(), 6);
    }

    #[test]
    fn digits_are_stored_as_they_are() {
        let ravi = phone("+919876543210");
        let stored = OtpStorage::Digits.seal(&ravi, "012345");
        assert_eq!(stored.expose(), "012345");
        let opened = OtpStorage::Digits.open(&ravi, stored.clone(), None);
        assert_eq!(opened, Some(stored));
    }
}
