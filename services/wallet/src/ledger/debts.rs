//! Debts of deleted accounts follow the phone: a later account of the same phone owes them, and the next coins that it
//! gets pay them. Coins that it has already are not taken, since a number may belong to somebody else by now.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::Error;
use talktime_kit::db::PgConnection;

use super::WalletLedger;
use crate::domain::WalletError;
use crate::domain::journal::{
    JournalAccount, JournalCurrency, JournalEntry, TransferKind, debt_transfer_id,
};
use crate::domain::posting::{Posting, WalletChange};
use crate::store::wallets::{LockedWallet, LockedWallets};
use crate::store::{closed_wallets, posting, wallets};

/// Length of a hash of a phone in bytes.
const PHONE_HASH_BYTES: usize = 32;
/// The time after the deletion for which a debt finds a new account: payments may go back for half a year.
const PHONES_KEPT: TimeDelta = TimeDelta::days(180);
/// Hashes that one statement forgets.
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// Makes a new account the successor of deleted ones of the same phone, and transfers what these owe to it.
pub async fn transfer_debts(
    tx: &mut PgConnection,
    user_id: i64,
    phone_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    if phone_hash.len() != PHONE_HASH_BYTES {
        return Ok(());
    }
    let owners = closed_wallets::list_by_phone(tx, phone_hash, now - PHONES_KEPT).await?;
    if owners.is_empty() {
        return Ok(());
    }
    let parties: Vec<i64> = owners.iter().copied().chain([user_id]).collect();
    let mut locked = wallets::lock(tx, &parties).await?;
    if locked.get(&user_id).is_none_or(|wallet| wallet.is_closed) {
        return Ok(());
    }
    closed_wallets::set_successor(tx, &owners, user_id).await?;
    for owner_id in owners {
        transfer_debt(tx, now, &mut locked, owner_id, user_id).await?;
    }
    Ok(())
}

/// Transfers what a deleted account owes to the account that has taken its place. Both wallets are locked.
pub(super) async fn transfer_debt(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    locked: &mut LockedWallets,
    owner_id: i64,
    successor_id: i64,
) -> Result<(), Error> {
    let (owner, successor) = (locked.get(&owner_id), locked.get(&successor_id));
    let (Some(owner), Some(successor)) = (owner.copied(), successor.copied()) else {
        return Ok(());
    };
    if owner.debt_coins == 0 || !owner.is_closed || successor.is_closed {
        return Ok(());
    }
    let postings = debt_transfer_postings(&owner, &successor);
    posting::post_all(tx, now, locked, &postings).await?;
    for (wallet_id, change) in [
        (owner_id, -owner.debt_coins),
        (successor_id, owner.debt_coins),
    ] {
        if let Some(wallet) = locked.get_mut(&wallet_id) {
            wallet.debt_coins += change;
        }
    }
    Ok(())
}

/// The two transfers by which a debt leaves one wallet and enters another: each changes one wallet.
fn debt_transfer_postings(owner: &LockedWallet, successor: &LockedWallet) -> [Posting; 2] {
    let coins = owner.debt_coins;
    let (from, to) = (owner.user_id, successor.user_id);
    // The owner's chain grows with each transfer, so a later debt gets another id.
    let transfer_id = debt_transfer_id(from, to, owner.chain.length);
    let posting = |transfer_id, wallet: &LockedWallet, debit, credit, debt_coins| Posting {
        transfer_id,
        kind: TransferKind::DebtTransfer,
        content: format!("user {to} owes the {coins} coins of deleted user {from}"),
        call_id: None,
        coins,
        paise: 0,
        balance_coins: wallet.balance_coins,
        entries: vec![JournalEntry {
            currency: JournalCurrency::Coins,
            debit,
            credit,
            amount: coins,
        }],
        owner_id: wallet.user_id,
        change: WalletChange {
            debt_coins,
            ..WalletChange::default()
        },
        line: None,
    };
    let between = JournalAccount::DebtTransfer;
    [
        posting(
            transfer_id.clone(),
            owner,
            between,
            JournalAccount::UserDebt(from),
            -coins,
        ),
        posting(
            format!("{transfer_id}/in"),
            successor,
            JournalAccount::UserDebt(to),
            between,
            coins,
        ),
    ]
}

impl WalletLedger {
    /// Forgets the phones of accounts that were deleted so long ago that their payments cannot go back any more.
    pub async fn forget_old_phones(&self) -> Result<(), WalletError> {
        let before = self.clock.now() - PHONES_KEPT;
        loop {
            let mut tx = self.db.begin().await?;
            let forgotten = closed_wallets::forget_phones(&mut tx, before, FORGOTTEN_AT_ONCE);
            let forgotten = forgotten.await?;
            tx.commit().await?;
            if forgotten < FORGOTTEN_AT_ONCE.unsigned_abs() {
                return Ok(());
            }
        }
    }
}
