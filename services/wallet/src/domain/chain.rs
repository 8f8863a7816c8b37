//! The chain of a wallet's transfers: each link's hash covers the link before it.
//!
//! After a changed amount, a missing row or an inserted row, every later hash is different.

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

/// SHA-256 of a link.
pub type ChainLinkHash = [u8; 32];

/// The end of a chain; the default is the end of an empty chain.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ChainHead {
    pub length: i64,
    /// The last link's hash; zeroes without one.
    pub hash: ChainLinkHash,
}

/// One row of the journal, as text.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct JournalRow<'a> {
    /// `coins` or `paise`.
    pub ledger: &'a str,
    /// The account that gives.
    pub debit: &'a str,
    /// The account that receives.
    pub credit: &'a str,
    pub amount: i64,
}

/// The content that a link covers: a transfer and its rows in the journal.
#[derive(Clone, Debug)]
pub struct ChainLink<'a> {
    /// The transfer's id.
    pub transfer_id: &'a str,
    pub kind: &'a str,
    /// The meaning of the id in words; the same id with other content is refused.
    pub content: &'a str,
    /// The call, for transfers that belong to a call.
    pub call_id: Option<i64>,
    /// Coins that moved.
    pub coins: i64,
    /// Paise that moved.
    pub paise: i64,
    /// The payer's coins afterwards.
    pub balance_coins: i64,
    pub created_at: DateTime<Utc>,
    /// The journal's rows, in any order.
    pub movements: Vec<JournalRow<'a>>,
}

impl ChainHead {
    /// The head after one more link.
    #[must_use]
    pub fn append_link(self, link: &ChainLink<'_>) -> Self {
        Self {
            length: self.length + 1,
            hash: link.hash(&self.hash),
        }
    }
}

impl ChainLink<'_> {
    /// Texts go in with their length and numbers with all their bytes, so that no two links read the
    /// same.
    fn hash(&self, previous: &ChainLinkHash) -> ChainLinkHash {
        let mut hasher = Sha256::new();
        hasher.update(previous);
        for text in [self.transfer_id, self.kind, self.content] {
            update_text(&mut hasher, text);
        }
        hasher.update([u8::from(self.call_id.is_some())]);
        let numbers = [
            self.call_id.unwrap_or_default(),
            self.coins,
            self.paise,
            self.balance_coins,
            self.created_at.timestamp_micros(),
        ];
        for number in numbers {
            hasher.update(number.to_le_bytes());
        }
        let mut movements = self.movements.clone();
        movements.sort_unstable();
        hasher.update((movements.len() as u64).to_le_bytes());
        for movement in movements {
            for text in [movement.ledger, movement.debit, movement.credit] {
                update_text(&mut hasher, text);
            }
            hasher.update(movement.amount.to_le_bytes());
        }
        hasher.finalize().into()
    }
}

fn update_text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_le_bytes());
    hasher.update(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOVEMENT: JournalRow<'static> = JournalRow {
        ledger: "coins",
        debit: "user/3",
        credit: "platform/coin_revenue",
        amount: 10,
    };

    fn link() -> ChainLink<'static> {
        ChainLink {
            transfer_id: "call/7/minute/1",
            kind: "charge",
            content: "user 3 pays 10 coins",
            call_id: Some(7),
            coins: 10,
            paise: 0,
            balance_coins: 290,
            created_at: DateTime::from_timestamp(1_800_000_000, 0).expect("valid"),
            movements: vec![MOVEMENT],
        }
    }

    /// Chains in databases were made with this hash: another encoding would break all of them.
    #[test]
    fn the_hash_of_a_link_never_changes() {
        let head = ChainHead::default().append_link(&link());
        assert_eq!(head.length, 1);
        assert_eq!(
            hex::encode(head.hash),
            "0bc563b9261f62c9f3ca70bcdea9b33fde0359b2efc7d5be62361b5f8eac47ba"
        );
    }

    #[test]
    fn every_field_changes_the_hash() {
        let other = |change: fn(&mut ChainLink<'static>)| {
            let mut link = link();
            change(&mut link);
            ChainHead::default().append_link(&link).hash
        };
        let hashes = [
            ChainHead::default().append_link(&link()).hash,
            ChainHead::default()
                .append_link(&link())
                .append_link(&link())
                .hash,
            other(|link| link.transfer_id = "call/7/minute/2"),
            other(|link| link.kind = "void"),
            other(|link| link.content = "user 3 pays 11 coins"),
            other(|link| link.call_id = None),
            other(|link| link.coins = 11),
            other(|link| link.paise = 1),
            other(|link| link.balance_coins = 291),
            other(|link| link.created_at += chrono::TimeDelta::microseconds(1)),
            other(|link| link.movements = vec![]),
            other(|link| link.movements.push(MOVEMENT)),
            other(|link| link.movements[0].amount = 9),
            other(|link| link.movements[0].debit = "user/4"),
        ];
        let distinct: std::collections::HashSet<_> = hashes.iter().collect();
        assert_eq!(distinct.len(), hashes.len());
    }
}
