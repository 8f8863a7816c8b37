//! Anchors: signed copies of the ends of chains, which are kept where nobody with the database reaches them.
//!
//! Whoever can write the tables can compute a whole chain anew, and the wallets agree with it. The anchor still names the
//! link that was there before. Each anchor names the one before it by its hash, so that none can be left out.

use aws_lc_rs::signature::{
    ED25519, ED25519_PUBLIC_KEY_LEN, Ed25519KeyPair, KeyPair, UnparsedPublicKey,
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::chain::ChainHead;

/// The end of one chain when it was anchored.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AnchoredHead {
    pub owner_id: i64,
    pub length: i64,
    /// The hash of the last link, in hexadecimal.
    pub hash: String,
}

/// The content of an anchor.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct LedgerAnchor {
    /// Counts from one, without gaps.
    pub number: u64,
    /// The hash of the anchor before, as it is stored; empty for the first one.
    pub previous: String,
    pub anchored_at: DateTime<Utc>,
    /// Whether the database was restored to a moment of the past just before, so that links which earlier anchors name may
    /// be lost.
    pub begins_anew: bool,
    /// The chains that have grown since the anchor before; all of them in the first one and where it begins anew.
    pub heads: Vec<AnchoredHead>,
}

/// The reason why an anchor proves nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum AnchorError {
    #[error("a key is not 64 hexadecimal digits")]
    InvalidKey,
    #[error("is damaged")]
    Damaged,
    #[error("is not signed with the key of the ledger")]
    ForeignSignature,
}

/// Signs anchors.
pub struct AnchorSigner(Ed25519KeyPair);

/// Verifies the signatures of anchors.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AnchorVerifier {
    public_key: [u8; ED25519_PUBLIC_KEY_LEN],
}

impl AnchoredHead {
    pub fn new(owner_id: i64, head: ChainHead) -> Self {
        Self {
            owner_id,
            length: head.length,
            hash: hex::encode(head.hash),
        }
    }
}

impl AnchorSigner {
    /// Returns the key with these 64 hexadecimal digits, the seed of Ed25519.
    pub fn from_hex(digits: &str) -> Result<Self, AnchorError> {
        let seed = hex::decode(digits.trim()).map_err(|_| AnchorError::InvalidKey)?;
        let key = Ed25519KeyPair::from_seed_unchecked(&seed);
        Ok(Self(key.map_err(|_| AnchorError::InvalidKey)?))
    }

    /// Returns what verifies the signatures of this key.
    pub fn verifier(&self) -> Result<AnchorVerifier, AnchorError> {
        AnchorVerifier::from_bytes(self.0.public_key().as_ref())
    }

    /// Returns the anchor as it is stored: a line of JSON, and the signature of that line in hexadecimal.
    pub fn sign(&self, anchor: &LedgerAnchor) -> serde_json::Result<Vec<u8>> {
        let mut stored = serde_json::to_vec(anchor)?;
        let signature = hex::encode(self.0.sign(&stored));
        stored.push(b'\n');
        stored.extend_from_slice(signature.as_bytes());
        Ok(stored)
    }
}

impl AnchorVerifier {
    /// Returns the verifier of the public key with these 64 hexadecimal digits.
    pub fn from_hex(digits: &str) -> Result<Self, AnchorError> {
        let key = hex::decode(digits.trim()).map_err(|_| AnchorError::InvalidKey)?;
        Self::from_bytes(&key)
    }

    fn from_bytes(key: &[u8]) -> Result<Self, AnchorError> {
        let public_key = key.try_into().map_err(|_| AnchorError::InvalidKey)?;
        Ok(Self { public_key })
    }

    /// Returns the anchor that [`AnchorSigner::sign`] has signed.
    pub fn open(&self, stored: &[u8]) -> Result<LedgerAnchor, AnchorError> {
        let end = stored.iter().rposition(|byte| *byte == b'\n');
        let (statement, signature) = stored.split_at(end.ok_or(AnchorError::Damaged)?);
        let signature = hex::decode(&signature[1..]).map_err(|_| AnchorError::Damaged)?;
        let public_key = UnparsedPublicKey::new(&ED25519, self.public_key);
        let verified = public_key.verify(statement, &signature);
        verified.map_err(|_| AnchorError::ForeignSignature)?;
        serde_json::from_slice(statement).map_err(|_| AnchorError::Damaged)
    }
}

/// The hash by which the next anchor names a stored one, in hexadecimal.
pub fn hash_stored(stored: &[u8]) -> String {
    hex::encode(Sha256::digest(stored))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anchor() -> LedgerAnchor {
        let head = ChainHead {
            length: 3,
            hash: [7; 32],
        };
        LedgerAnchor {
            number: 1,
            previous: String::new(),
            anchored_at: DateTime::UNIX_EPOCH,
            begins_anew: false,
            heads: vec![AnchoredHead::new(12, head)],
        }
    }

    fn signer(digit: char) -> AnchorSigner {
        AnchorSigner::from_hex(&digit.to_string().repeat(64)).expect("64 digits")
    }

    fn verifier(digit: char) -> AnchorVerifier {
        signer(digit).verifier().expect("a key of 32 bytes")
    }

    #[test]
    fn a_signed_anchor_opens_as_it_was() {
        let stored = signer('a').sign(&anchor()).expect("signed");
        assert_eq!(verifier('a').open(&stored), Ok(anchor()));
    }

    #[test]
    fn a_changed_anchor_does_not_open() {
        let stored = signer('a').sign(&anchor()).expect("signed");
        let text = String::from_utf8(stored.clone()).expect("JSON");
        let changed = text.replace("\"length\":3", "\"length\":4");
        assert_eq!(
            verifier('a').open(changed.as_bytes()),
            Err(AnchorError::ForeignSignature)
        );
        assert_eq!(
            verifier('a').open(&stored[..stored.len() / 2]),
            Err(AnchorError::Damaged)
        );
        assert_eq!(
            verifier('b').open(&stored),
            Err(AnchorError::ForeignSignature)
        );
    }

    #[test]
    fn keys_have_64_hexadecimal_digits() {
        assert!(AnchorSigner::from_hex("abc").is_err());
        assert!(AnchorVerifier::from_hex(&"ab".repeat(31)).is_err());
        assert!(AnchorVerifier::from_hex(&"ab".repeat(32)).is_ok());
    }
}
