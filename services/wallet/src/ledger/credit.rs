//! Crediting orders.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox;

use crate::domain::WalletError;
use crate::domain::history::TransactionType;
use crate::domain::journal::{
    JournalAccount, JournalCurrency, JournalEntry, TransferKind, debt_payment_id,
    payment_transfer_id,
};
use crate::domain::payment::{self, PaymentOrder};
use crate::domain::posting::{NewHistoryLine, Posting, WalletChange};
use crate::events::coins_added_event;
use crate::store::payments::{PaymentOrderCredit, REFUNDS_CHECKED_AFTER};
use crate::store::wallets::{LockedWallet, LockedWallets};
use crate::store::{payments, posting, transfers};

/// The result of a purchase.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct RechargeOutcome {
    /// The buyer's transaction.
    pub transaction_id: i64,
    /// The sum that was paid, in paise.
    pub amount_paise: i64,
    /// The coins that were bought.
    pub coins_added: i64,
    /// The buyer's coins right after it.
    pub balance_coins: i64,
    pub created_at: DateTime<Utc>,
}

/// The payment that credits an order.
#[derive(Clone, Copy, Debug)]
pub(super) struct CreditedPayment<'a> {
    /// Its id at the provider.
    pub(super) payment_id: &'a str,
    /// The price that it pays for the coins.
    pub(super) price_paise: i64,
    /// The payment method, by the app's or the provider's name.
    pub(super) method: Option<&'a str>,
}

/// Credits a locked order of a locked, open wallet that no payment has credited yet.
pub(super) async fn credit_order(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    locked: &mut LockedWallets,
    order: &PaymentOrder,
    payment: &CreditedPayment<'_>,
) -> Result<RechargeOutcome, WalletError> {
    let wallet = locked[&order.user_id];
    payment::check_coins(order.coins, payment.price_paise, wallet.balance_coins)?;
    let postings = purchase_postings(&wallet, order, payment);
    let made = posting::post_all(tx, now, locked, &postings).await?;
    let transaction_id = made[&postings[0].transfer_id];
    let credit = PaymentOrderCredit {
        payment_id: payment.payment_id,
        method: payment::method_name(payment.method),
        transaction_id,
        paid_paise: payment.price_paise,
        ask_at: order
            .is_reported_by_provider()
            .then_some(now + REFUNDS_CHECKED_AFTER),
    };
    payments::set_credited(tx, &order.order_id, &credit, now).await?;
    let recharged = RechargeOutcome {
        transaction_id,
        amount_paise: payment.price_paise,
        coins_added: order.coins,
        balance_coins: postings[0].balance_coins,
        created_at: now,
    };
    let added = coins_added_event(
        order.user_id,
        order.coins,
        recharged.balance_coins,
        &postings[0].transfer_id,
    );
    outbox::append(tx, order.user_id, wallet.version + 1, now, added).await?;
    Ok(recharged)
}

/// The purchase of a credited order, for a proof that is sent again.
pub(super) async fn find_earlier_purchase(
    tx: &mut PgConnection,
    order: &PaymentOrder,
    payment_id: &str,
) -> Result<RechargeOutcome, WalletError> {
    if order.credited_payment_id() != Some(payment_id) {
        return Err(WalletError::OrderPaid {
            order_id: order.order_id.clone(),
        });
    }
    if order.is_reversed() {
        return Err(WalletError::PaymentReversed);
    }
    let transfer_id = payment_transfer_id(payment_id);
    let first = transfers::find(tx, &transfer_id).await?;
    let first = first.ok_or_else(|| missing("wallet.transfers.transfer_id", &transfer_id))?;
    Ok(RechargeOutcome {
        transaction_id: order
            .transaction_id
            .ok_or_else(|| missing("wallet.payment_orders.transaction_id", &order.order_id))?,
        amount_paise: order.price_paise(),
        coins_added: order.coins - order.reversed_coins,
        balance_coins: first.balance_coins,
        created_at: order
            .paid_at
            .ok_or_else(|| missing("wallet.payment_orders.paid_at", &order.order_id))?,
    })
}

fn missing(column: &'static str, key: &str) -> WalletError {
    WalletError::MissingValue {
        column,
        key: key.to_owned(),
    }
}

/// The transfers of a purchase: the purchase itself, and the part of it that pays a debt at once.
pub(super) fn purchase_postings(
    wallet: &LockedWallet,
    order: &PaymentOrder,
    payment: &CreditedPayment<'_>,
) -> Vec<Posting> {
    let owed_coins = wallet.debt_coins.min(order.coins);
    let balance_coins = wallet.balance_coins + order.coins - owed_coins;
    let mut postings = vec![purchase_posting(order, payment, balance_coins)];
    if owed_coins > 0 {
        let transfer_id = debt_payment_id(&postings[0].transfer_id);
        let source = JournalAccount::User(wallet.user_id);
        let posting = debt_posting(
            wallet.user_id,
            source,
            transfer_id,
            owed_coins,
            balance_coins,
        );
        postings.push(posting);
    }
    postings
}

fn purchase_posting(
    order: &PaymentOrder,
    payment: &CreditedPayment<'_>,
    balance_coins: i64,
) -> Posting {
    let user_id = order.user_id;
    let coins_entry = JournalEntry {
        currency: JournalCurrency::Coins,
        debit: JournalAccount::CoinIssue,
        credit: JournalAccount::User(user_id),
        amount: order.coins,
    };
    let money_entry = JournalEntry {
        currency: JournalCurrency::Paise,
        debit: JournalAccount::GatewayClearing,
        credit: JournalAccount::CoinSales,
        amount: payment.price_paise,
    };
    let entries = [coins_entry, money_entry].into_iter();
    Posting {
        transfer_id: payment_transfer_id(payment.payment_id),
        kind: TransferKind::Payment,
        content: format!("user {user_id} buys {} coins", order.coins),
        call_id: None,
        coins: order.coins,
        paise: payment.price_paise,
        balance_coins,
        // In the sandbox a purchase may be free, and an entry must have an amount.
        entries: entries.filter(|entry| entry.amount > 0).collect(),
        owner_id: user_id,
        change: WalletChange {
            coins: order.coins,
            events: 1,
            ..WalletChange::default()
        },
        line: Some(NewHistoryLine {
            tx_type: TransactionType::Purchase,
            coins_change: order.coins,
            money_change_paise: payment.price_paise,
            description: format!("{} coins bought", order.coins),
        }),
    }
}

/// The transfer by which new coins pay a debt, from the account of the user that they entered.
pub(super) fn debt_posting(
    user_id: i64,
    source: JournalAccount,
    transfer_id: String,
    coins: i64,
    balance_coins: i64,
) -> Posting {
    let is_given = matches!(source, JournalAccount::UserBonus(_));
    Posting {
        transfer_id,
        kind: TransferKind::PaymentReversal,
        content: format!("user {user_id} pays {coins} coins of debt"),
        call_id: None,
        coins,
        paise: 0,
        balance_coins,
        entries: vec![JournalEntry {
            currency: JournalCurrency::Coins,
            debit: source,
            credit: JournalAccount::UserDebt(user_id),
            amount: coins,
        }],
        owner_id: user_id,
        change: WalletChange {
            coins: -coins,
            bonus_coins: if is_given { -coins } else { 0 },
            debt_coins: -coins,
            ..WalletChange::default()
        },
        line: Some(NewHistoryLine {
            tx_type: TransactionType::Refund,
            coins_change: -coins,
            money_change_paise: 0,
            description: "Coins owed for a payment that was taken back".to_owned(),
        }),
    }
}
