//! Buying coins against a payment (contract, section 9).

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use talktime_kit::idempotency::{self, Seen};
use talktime_kit::messaging::outbox;
use talktime_proto::events::v1::CoinsAdded;
use talktime_proto::events::v1::event::Kind;

use super::Ledger;
use crate::domain::WalletError;
use crate::domain::history::TxType;
use crate::domain::journal::{self, Account, Entry, TransferKind, payment_transfer_id};
use crate::domain::payment::PaymentMethod;
use crate::store::payments::{self, NewPaidOrder, PaidOrder};
use crate::store::posting::{self, Change, Line, Posting};
use crate::store::transfers::Transfer;
use crate::store::{transfers, wallets};

/// A wish for coins.
#[derive(Clone, Debug)]
pub struct Recharge {
    /// Who buys.
    pub user_id: i64,
    /// What is paid.
    pub amount_paise: i64,
    /// How.
    pub payment_method: PaymentMethod,
    /// The payment that proves it; none: the sandbox opens and pays an order under `fresh_id`.
    pub payment_id: Option<String>,
    /// Unique, made for this request.
    pub fresh_id: String,
    /// The client's Idempotency-Key, with what it stands for.
    pub idempotency: Option<idempotency::Request>,
}

/// What a recharge came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Recharged {
    /// The buyer's transaction.
    pub transaction_id: i64,
    /// What was paid.
    pub amount_paise: i64,
    /// What it bought.
    pub coins_added: i64,
    /// The buyer's coins right after it.
    pub balance_coins: i64,
    /// When.
    pub created_at: DateTime<Utc>,
}

impl Ledger {
    /// Credits a payment once, however often and under whatever key it is sent.
    pub async fn recharge(&self, recharge: &Recharge) -> Result<Recharged, WalletError> {
        let now = self.clock.now();
        let coins = self.rate_card.coins_for(recharge.amount_paise)?;
        let mut tx = self.db.begin().await?;
        if let Some(request) = &recharge.idempotency
            && let Seen::Before(answer) = idempotency::begin(&mut tx, request).await?
        {
            return Ok(answer);
        }
        wallets::ensure(&mut tx, &[recharge.user_id], now).await?;
        let payment_id = match &recharge.payment_id {
            Some(payment_id) => payment_id.clone(),
            None => pay_in_sandbox(&mut tx, now, recharge, coins).await?,
        };
        let recharged = self.credit(&mut tx, now, recharge, &payment_id).await?;
        if let Some(request) = &recharge.idempotency {
            idempotency::finish(&mut tx, request, &recharged).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(recharged)
    }

    async fn credit(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        recharge: &Recharge,
        payment_id: &str,
    ) -> Result<Recharged, WalletError> {
        let mut locked = wallets::lock(tx, &[recharge.user_id]).await?;
        let wallet = locked[&recharge.user_id];
        if wallet.is_closed {
            return Err(WalletError::Unpaid);
        }
        let order = payments::find_paid(tx, recharge.user_id, payment_id)
            .await?
            .filter(|order| order.amount_paise == recharge.amount_paise)
            .ok_or(WalletError::Unpaid)?;
        let transfer_id = payment_transfer_id(payment_id);
        if let Some(first) = transfers::find(tx, &transfer_id).await? {
            return credited_before(tx, &transfer_id, &first, &order).await;
        }
        let posting = crediting(recharge.user_id, &transfer_id, &order, wallet.balance_coins);
        let balance_coins = posting.balance_coins;
        let transaction_ids = posting::post(tx, now, &mut locked, &[posting]).await?;
        let transaction_id = transaction_ids[&transfer_id];
        payments::credited(tx, payment_id, transaction_id).await?;
        let added = CoinsAdded {
            user_id: recharge.user_id,
            coins: order.coins,
            balance_coins,
            transfer_id: transfer_id.clone(),
        };
        let version = wallet.version + 1;
        outbox::append(tx, recharge.user_id, version, now, Kind::CoinsAdded(added)).await?;
        Ok(Recharged {
            transaction_id,
            amount_paise: order.amount_paise,
            coins_added: order.coins,
            balance_coins,
            created_at: now,
        })
    }
}

/// Opens an order and pays it, as the sandbox does; answers the payment's id.
async fn pay_in_sandbox(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    recharge: &Recharge,
    coins: i64,
) -> sqlx::Result<String> {
    let payment_id = format!("sandbox_{}", recharge.fresh_id);
    let order = NewPaidOrder {
        order_id: &format!("order_{}", recharge.fresh_id),
        payment_id: &payment_id,
        user_id: recharge.user_id,
        amount_paise: recharge.amount_paise,
        coins,
        payment_method: recharge.payment_method.name(),
    };
    payments::insert_sandbox_paid(tx, &order, now).await?;
    Ok(payment_id)
}

async fn credited_before(
    tx: &mut PgConnection,
    transfer_id: &str,
    first: &Transfer,
    order: &PaidOrder,
) -> Result<Recharged, WalletError> {
    let past = transfers::past(tx, std::slice::from_ref(&transfer_id.to_owned())).await?;
    let transaction_id = past.get(transfer_id).and_then(|past| past.transaction_id);
    Ok(Recharged {
        transaction_id: transaction_id.unwrap_or_default(),
        amount_paise: order.amount_paise,
        coins_added: first.coins,
        balance_coins: first.balance_coins,
        created_at: order.paid_at,
    })
}

fn crediting(user_id: i64, transfer_id: &str, order: &PaidOrder, balance_coins: i64) -> Posting {
    let coins_entry = Entry {
        ledger: journal::Ledger::Coins,
        debit: Account::CoinIssue,
        credit: Account::User(user_id),
        amount: order.coins,
    };
    let money_entry = Entry {
        ledger: journal::Ledger::Paise,
        debit: Account::GatewayClearing,
        credit: Account::CoinSales,
        amount: order.amount_paise,
    };
    Posting {
        transfer_id: transfer_id.to_owned(),
        kind: TransferKind::Payment,
        content: format!("user {user_id} buys {} coins", order.coins),
        call_id: None,
        coins: order.coins,
        paise: order.amount_paise,
        balance_coins: balance_coins + order.coins,
        entries: vec![coins_entry, money_entry],
        owner_id: user_id,
        change: Change {
            coins: order.coins,
            events: 1,
            ..Change::default()
        },
        line: Some(Line {
            tx_type: TxType::Purchase,
            coins_change: order.coins,
            money_change_paise: order.amount_paise,
            description: format!("{} coins bought", order.coins),
        }),
    }
}
