//! Closing the wallets of deleted accounts. The wallet is deleted; the journal stays and still sums to zero.

use chrono::{DateTime, Utc};
use talktime_kit::Error;
use talktime_kit::db::PgConnection;

use crate::domain::journal::{
    JournalAccount, JournalCurrency, JournalEntry, TransferKind, closing_id,
};
use crate::domain::posting::{Posting, WalletChange};
use crate::store::wallets::LockedWallet;
use crate::store::{disputes, order_payments, posting, wallets};

/// Moves the balance of a deleted account to the platform and deletes the person's rows, once for each person. The keyed
/// hash of the phone, which may be empty, stays if payments may still go back.
pub async fn close_account(
    tx: &mut PgConnection,
    user_id: i64,
    phone_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut locked = wallets::lock(tx, &[user_id]).await?;
    let Some(wallet) = locked.get(&user_id).copied() else {
        return wallets::close_wallet(tx, user_id, None, phone_hash, now).await;
    };
    if wallet.is_closed {
        return Ok(());
    }
    order_payments::upsert_from_orders(tx, user_id, now).await?;
    let disputed_coins = disputes::take_frozen(tx, user_id).await?;
    let posting = closing_posting(&wallet, disputed_coins);
    posting::post_all(tx, now, &mut locked, &[posting]).await?;
    wallets::close_wallet(tx, user_id, locked.get(&user_id), phone_hash, now).await
}

/// The transfer that empties a wallet, disputed coins included. Coins that were given return to their issue, so that a
/// chargeback cannot take them for bought ones that the account has left behind. Rupees of requested withdrawals stay held
/// until each withdrawal is decided, and what the person owes stays owed.
fn closing_posting(wallet: &LockedWallet, disputed_coins: i64) -> Posting {
    let user = JournalAccount::User(wallet.user_id);
    let (coins, paise) = (JournalCurrency::Coins, JournalCurrency::Paise);
    let movements = [
        (
            coins,
            user,
            JournalAccount::Forfeited,
            wallet.bought_coins(),
        ),
        (
            coins,
            JournalAccount::UserBonus(wallet.user_id),
            JournalAccount::CoinIssue,
            wallet.given_coins(),
        ),
        (
            coins,
            JournalAccount::Disputed,
            JournalAccount::Forfeited,
            disputed_coins,
        ),
        (
            paise,
            user,
            JournalAccount::Forfeited,
            wallet.withdrawable_paise,
        ),
    ];
    let entries = movements
        .into_iter()
        .filter(|(.., amount)| *amount > 0)
        .map(|(currency, debit, credit, amount)| JournalEntry {
            currency,
            debit,
            credit,
            amount,
        })
        .collect();
    Posting {
        transfer_id: closing_id(wallet.user_id),
        kind: TransferKind::Closing,
        content: format!("user {} is deleted", wallet.user_id),
        call_id: None,
        coins: wallet.balance_coins + disputed_coins,
        paise: wallet.withdrawable_paise,
        balance_coins: 0,
        entries,
        owner_id: wallet.user_id,
        change: WalletChange::default(),
        line: None,
    }
}
