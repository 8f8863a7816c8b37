//! A transfer with everything that follows from it.

use super::history::TransactionType;
use super::journal::{JournalAccount, JournalEntry, TransferKind};

/// A transfer and all that follows from it. It changes one wallet, whose chain it becomes a link of.
#[derive(Clone, Debug)]
pub struct Posting {
    /// The id that its caller made.
    pub transfer_id: String,
    pub kind: TransferKind,
    /// The meaning of the id in words; the same id with other content is refused.
    pub content: String,
    /// The call, for transfers that belong to a call.
    pub call_id: Option<i64>,
    /// Coins that move, for a replayed answer.
    pub coins: i64,
    /// Paise that move, for a replayed answer.
    pub paise: i64,
    /// The payer's coins afterwards, for a replayed answer.
    pub balance_coins: i64,
    /// The journal's rows.
    pub entries: Vec<JournalEntry>,
    /// The owner of the wallet that it changes. The caller holds the lock of the wallet.
    pub owner_id: i64,
    /// The change of the wallet.
    pub change: WalletChange,
    /// The line in its owner's history.
    pub line: Option<NewHistoryLine>,
}

impl Posting {
    /// The part of its coins that moves to or from an account of bonus coins.
    pub fn bonus_coins(&self) -> i64 {
        let is_bonus = |account| matches!(account, JournalAccount::UserBonus(_));
        let moved = self.entries.iter();
        moved
            .filter(|entry| is_bonus(entry.debit) || is_bonus(entry.credit))
            .map(|entry| entry.amount)
            .sum()
    }
}

/// The change of a wallet's columns, which equals the movements of the journal's rows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct WalletChange {
    /// Coins that can be spent.
    pub coins: i64,
    /// The part of them that was given.
    pub bonus_coins: i64,
    /// Coins owed.
    pub debt_coins: i64,
    /// Money that may be withdrawn, in paise.
    pub withdrawable_paise: i64,
    /// Money earned since the wallet was opened, in paise.
    pub earned_paise: i64,
    /// Money requested and not yet paid out, in paise.
    pub pending_paise: i64,
    /// Money paid out since the wallet was opened, in paise.
    pub withdrawn_paise: i64,
    /// The number of events about it, by which the wallet's version grows.
    pub events: i64,
}

/// A line that is to be inserted into a person's history.
#[derive(Clone, Debug)]
pub struct NewHistoryLine {
    pub tx_type: TransactionType,
    /// Change of the coins.
    pub coins_change: i64,
    /// Rupees paid, earned or withdrawn, in paise.
    pub money_change_paise: i64,
    /// Text that is shown to people.
    pub description: String,
}
