//! Emptying a deleted account: the wallet goes, the journal stays and still sums to zero.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::journal::{self, Account, Entry, TransferKind, closing_id};
use crate::store::posting::{self, Posting};
use crate::store::{transfers, wallets};

/// Moves what a deleted person left to the platform and drops their rows. Once a person.
pub async fn close_account(
    tx: &mut PgConnection,
    user_id: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let locked = wallets::lock(tx, &[user_id]).await?;
    let Some(wallet) = locked.get(&user_id) else {
        return Ok(());
    };
    let left = [
        (journal::Ledger::Coins, wallet.balance_coins),
        (journal::Ledger::Paise, wallet.withdrawable_paise),
    ];
    let entries = left
        .into_iter()
        .filter(|(_, amount)| *amount > 0)
        .map(|(ledger, amount)| Entry {
            ledger,
            debit: Account::User(user_id),
            credit: Account::Forfeited,
            amount,
        })
        .collect();
    let closing = Posting {
        transfer_id: closing_id(user_id),
        kind: TransferKind::Closing,
        content: format!("user {user_id} is deleted"),
        call_id: None,
        coins: wallet.balance_coins,
        paise: wallet.withdrawable_paise,
        balance_coins: 0,
        entries,
        transactions: vec![],
    };
    if transfers::find(tx, &closing.transfer_id).await?.is_none() {
        posting::post(tx, now, &[closing]).await?;
    }
    wallets::delete(tx, user_id).await
}
