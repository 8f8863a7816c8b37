//! Reversed payments take their coins back, as far as bought coins are left, and the rest becomes a debt. Coins that
//! were given stay.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox;

use super::debts::transfer_debt;
use crate::domain::WalletError;
use crate::domain::history::TransactionType;
use crate::domain::journal::{
    JournalAccount, JournalCurrency, JournalEntry, TransferKind, reversal_id,
};
use crate::domain::order_evaluation::ReversedAmounts;
use crate::domain::payment::PaymentOrder;
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::domain::provider_payment::PaymentReversalReason;
use crate::events::{ReversedCoins, payment_reversed_event};
use crate::store::order_payments::{self, PaymentRecord};
use crate::store::wallets::{LockedWallet, LockedWallets};
use crate::store::{accounts, closed_wallets, payments, posting, wallets};

/// The reversals that a credited order is to have.
pub(super) struct OrderReversalPlan<'a> {
    /// The order as it was locked.
    pub(super) order: &'a PaymentOrder,
    /// The payment that credited it.
    pub(super) record: &'a PaymentRecord,
    /// The amounts that all reversals together take back.
    pub(super) reversed: ReversedAmounts,
    /// The reason of the last reversal.
    pub(super) reason: PaymentReversalReason,
}

/// Takes back the part of a locked order's reversals that has not been taken back yet.
pub(super) async fn reverse_order(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    reversal: &OrderReversalPlan<'_>,
) -> Result<(), WalletError> {
    let (order, record) = (reversal.order, reversal.record);
    let before = ReversedAmounts {
        paise: order.reversed_paise,
        coins: order.reversed_coins,
    };
    let Some(back) = reversal.reversed.beyond(before) else {
        return Ok(());
    };
    // The wallet is locked already; it is read again because the order may have been credited a moment ago.
    let mut locked = wallets::lock(tx, &[order.user_id]).await?;
    let wallet = locked[&order.user_id];
    let taken_coins = back.coins.min(wallet.bought_coins());
    let sources = ReversalCoinSources {
        account: JournalAccount::User(wallet.user_id),
        taken_coins,
        owed_coins: back.coins - taken_coins,
    };
    let posting = reversal_posting(&wallet, record, back, &sources, reversal.reason);
    posting::post_all(tx, now, &mut locked, &[posting]).await?;
    let reversed = before.plus(back);
    payments::set_reversed(tx, &order.order_id, reversed).await?;
    order_payments::set_reversed(tx, &record.payment_id, reversed).await?;
    append_payment_reversed(tx, now, &wallet, reversal, &sources).await?;
    Ok(())
}

/// Reverses a payment of a buyer whose account is deleted. Coins that the account left behind are taken back,
/// and the rest becomes a debt on its closed wallet. Returns what was taken back from the first reversal to this one, or
/// `None` if nothing more was.
pub(super) async fn reverse_closed(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    locked: &mut LockedWallets,
    owner_id: i64,
    record: &PaymentRecord,
    reason: PaymentReversalReason,
) -> Result<Option<ReversedAmounts>, WalletError> {
    let Some(wallet) = locked.get(&owner_id).copied() else {
        return Ok(None);
    };
    let before = ReversedAmounts {
        paise: record.reversed_paise,
        coins: record.reversed_coins,
    };
    let payment = record.captured();
    let reversed = payment.reversed_amounts(record.price_paise, record.coins);
    let Some(back) = reversed.beyond(before) else {
        return Ok(None);
    };
    let left_coins = accounts::sum_forfeited_coins(tx, owner_id).await?;
    let taken_coins = back.coins.min(left_coins);
    let sources = ReversalCoinSources {
        account: JournalAccount::Forfeited,
        taken_coins,
        owed_coins: back.coins - taken_coins,
    };
    let posting = reversal_posting(&wallet, record, back, &sources, reason);
    posting::post_all(tx, now, locked, &[posting]).await?;
    if let Some(closed) = locked.get_mut(&owner_id) {
        closed.debt_coins += sources.owed_coins;
    }
    if let Some(successor_id) = closed_wallets::find_successor(tx, owner_id).await? {
        transfer_debt(tx, now, locked, owner_id, successor_id).await?;
    }
    let reversed = before.plus(back);
    order_payments::set_reversed(tx, &record.payment_id, reversed).await?;
    Ok(Some(reversed))
}

/// The accounts that give the coins of a reversal.
struct ReversalCoinSources {
    /// The account that still has coins.
    account: JournalAccount,
    /// Coins that are taken from it.
    taken_coins: i64,
    /// The rest, which the buyer owes.
    owed_coins: i64,
}

fn reversal_posting(
    wallet: &LockedWallet,
    record: &PaymentRecord,
    back: ReversedAmounts,
    sources: &ReversalCoinSources,
    reason: PaymentReversalReason,
) -> Posting {
    let user_id = wallet.user_id;
    let taken_coins = sources.taken_coins;
    let own_coins = if wallet.is_closed { 0 } else { taken_coins };
    let (coins, paise) = (JournalCurrency::Coins, JournalCurrency::Paise);
    let movements = [
        (
            coins,
            sources.account,
            JournalAccount::CoinIssue,
            taken_coins,
        ),
        (
            coins,
            JournalAccount::UserDebt(user_id),
            JournalAccount::CoinIssue,
            sources.owed_coins,
        ),
        (
            paise,
            JournalAccount::CoinSales,
            JournalAccount::GatewayClearing,
            back.paise,
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
        });
    Posting {
        transfer_id: reversal_id(&record.payment_id, record.returned()),
        kind: TransferKind::PaymentReversal,
        content: format!(
            "{} of {} paise takes {} coins from user {user_id}",
            reason.name(),
            back.paise,
            back.coins
        ),
        call_id: None,
        coins: back.coins,
        paise: back.paise,
        balance_coins: wallet.balance_coins - own_coins,
        entries: entries.collect(),
        owner_id: user_id,
        change: WalletChange {
            coins: -own_coins,
            debt_coins: sources.owed_coins,
            events: 1,
            ..WalletChange::default()
        },
        line: (!wallet.is_closed).then(|| NewHistoryLine {
            tx_type: TransactionType::Refund,
            coins_change: -own_coins,
            money_change_paise: -back.paise,
            description: format!("A payment went back ({})", reason.name()),
        }),
    }
}

async fn append_payment_reversed(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    wallet: &LockedWallet,
    reversal: &OrderReversalPlan<'_>,
    sources: &ReversalCoinSources,
) -> sqlx::Result<()> {
    let taken_coins = sources.taken_coins;
    let coins = ReversedCoins {
        taken: taken_coins,
        debt: wallet.debt_coins + sources.owed_coins,
        balance: wallet.balance_coins - taken_coins,
    };
    let (user_id, version) = (wallet.user_id, wallet.version + 1);
    let order_id = &reversal.order.order_id;
    let event = payment_reversed_event(user_id, order_id, reversal.reason, &coins);
    outbox::append(tx, user_id, version, now, event).await
}
