//! Bank details at rest. Each text is bound to its owner and column, so that a row that is copied into another
//! person's wallet does not open.
//!
//! A sealed text is `key_id:hex(nonce ciphertext tag)`. The key's id says which key opens it; a new key
//! becomes the one that seals, the old one stays to open until everything is sealed again.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Context, ensure};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use talktime_kit::sealing::SealingKey;

use crate::domain::WalletError;

/// Keys of bank details.
#[derive(Clone, Debug, Deserialize)]
pub struct BankDetailsConfig {
    /// The key that seals: 32 bytes in hexadecimal.
    pub key: SecretString,
    /// Its name in the store: letters, digits and hyphens. Another key needs another name.
    #[serde(default = "default_key_id")]
    pub key_id: String,
    /// Keys that still open what they sealed, `name:key`, several separated by commas.
    #[serde(default)]
    pub retired_keys: Option<SecretString>,
}

fn default_key_id() -> String {
    "1".to_owned()
}

/// Seals and opens bank details; cheap to clone.
#[derive(Clone)]
pub struct BankDetailsSealer {
    key_id: Arc<str>,
    keys: Arc<HashMap<String, SealingKey>>,
}

impl BankDetailsSealer {
    /// Seals with the configured key and opens with that and the retired ones.
    pub fn new(config: &BankDetailsConfig) -> anyhow::Result<Self> {
        let mut keys = HashMap::new();
        let retired = config.retired_keys.as_ref();
        for entry in retired.map_or("", ExposeSecret::expose_secret).split(',') {
            if entry.trim().is_empty() {
                continue;
            }
            let (key_id, key) = entry
                .split_once(':')
                .context("BANK_DETAILS__RETIRED_KEYS: expected name:key")?;
            insert_key(&mut keys, key_id, key).context("BANK_DETAILS__RETIRED_KEYS")?;
        }
        insert_key(&mut keys, &config.key_id, config.key.expose_secret())
            .context("BANK_DETAILS__KEY")?;
        Ok(Self {
            key_id: config.key_id.trim().into(),
            keys: Arc::new(keys),
        })
    }

    /// The id of the key that seals.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Seals a text that belongs to a person's `field`.
    pub fn seal(&self, user_id: i64, field: &str, text: &str) -> Result<String, WalletError> {
        let key = &self.keys[&*self.key_id];
        let sealed = key
            .seal(&owner_of(user_id, field), text.as_bytes())
            .map_err(|_| WalletError::Sealing("a text could not be sealed"))?;
        Ok(format!("{}:{}", self.key_id, hex::encode(sealed)))
    }

    /// Opens a text that [`BankDetailsSealer::seal`] sealed for the same person and field.
    pub fn open(&self, user_id: i64, field: &str, sealed: &str) -> Result<String, WalletError> {
        let (key_id, text) = sealed
            .split_once(':')
            .ok_or(WalletError::Sealing("a text is not sealed"))?;
        let key = self.keys.get(key_id).ok_or(WalletError::Sealing(
            "a text was sealed with an unknown key",
        ))?;
        let sealed =
            hex::decode(text).map_err(|_| WalletError::Sealing("a sealed text is damaged"))?;
        let opened = key
            .open(&owner_of(user_id, field), &sealed)
            .map_err(|_| WalletError::Sealing("a sealed text does not open"))?;
        String::from_utf8(opened).map_err(|_| WalletError::Sealing("a sealed text is no text"))
    }
}

fn owner_of(user_id: i64, field: &str) -> String {
    format!("user/{user_id}/{field}")
}

fn insert_key(
    keys: &mut HashMap<String, SealingKey>,
    key_id: &str,
    key: &str,
) -> anyhow::Result<()> {
    let key_id = key_id.trim();
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    ensure!(
        !key_id.is_empty() && key_id.bytes().all(is_name_byte),
        "a key's name is letters, digits and hyphens"
    );
    let key = SealingKey::from_hex(&key.into())?;
    ensure!(
        keys.insert(key_id.to_owned(), key).is_none(),
        "two keys have the name {key_id}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(key_id: &str, key: char, retired: Option<&str>) -> BankDetailsConfig {
        BankDetailsConfig {
            key: key.to_string().repeat(64).into(),
            key_id: key_id.to_owned(),
            retired_keys: retired.map(Into::into),
        }
    }

    fn sealer(key_id: &str, key: char, retired: Option<&str>) -> BankDetailsSealer {
        BankDetailsSealer::new(&config(key_id, key, retired)).expect("valid keys")
    }

    #[test]
    fn a_sealed_text_opens_for_its_owner_alone() {
        let sealer = sealer("1", 'a', None);
        let sealed = sealer
            .seal(7, "account_number", "123456789")
            .expect("sealed");
        assert!(!sealed.contains("123456789"));
        let opened = sealer.open(7, "account_number", &sealed).expect("opened");
        assert_eq!(opened, "123456789");
        assert!(sealer.open(8, "account_number", &sealed).is_err());
        assert!(sealer.open(7, "ifsc_code", &sealed).is_err());
    }

    #[test]
    fn a_damaged_text_does_not_open() {
        let sealer = sealer("1", 'a', None);
        let sealed = sealer.seal(7, "ifsc_code", "HDFC0ABC123").expect("sealed");
        let changed = if sealed.ends_with('0') { "1" } else { "0" };
        let damaged = format!("{}{changed}", &sealed[..sealed.len() - 1]);
        for text in [&damaged, "1:00", "1:zz", "", "2:0011", "1:"] {
            assert!(sealer.open(7, "ifsc_code", text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_retired_key_opens_and_the_new_one_seals() {
        let old = sealer("1", 'a', None);
        let sealed = old.seal(7, "ifsc_code", "HDFC0ABC123").expect("sealed");
        let retired = format!("1:{}", "a".repeat(64));
        let new = sealer("2", 'b', Some(&retired));
        assert_eq!(
            new.open(7, "ifsc_code", &sealed).expect("opened"),
            "HDFC0ABC123"
        );
        let resealed = new.seal(7, "ifsc_code", "HDFC0ABC123").expect("sealed");
        assert!(resealed.starts_with("2:"));
        assert!(old.open(7, "ifsc_code", &resealed).is_err());
    }

    #[test]
    fn wrong_keys_are_refused_without_being_repeated() {
        for (key_id, key, retired) in [
            ("1", "ab", None),
            ("1", "g", None),
            ("a b", "a", None),
            ("1", "a", Some("nonsense")),
        ] {
            let mut config = config(key_id, 'a', retired);
            if key != "a" {
                config.key = key.repeat(64).into();
            }
            let error = BankDetailsSealer::new(&config).err().expect("a wrong key");
            assert!(!format!("{error:#}").contains(config.key.expose_secret()));
        }
        let twice = format!("1:{}", "b".repeat(64));
        assert!(BankDetailsSealer::new(&config("1", 'a', Some(&twice))).is_err());
    }
}
