//! Buying coins: an order is opened, a payment pays it, and both the app's proof and the provider's
//! notice may come, in any order and any number of times.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use talktime_kit::failpoint;
use talktime_kit::idempotency::{self, Seen};
use talktime_kit::messaging::outbox;
use talktime_proto::events::v1::CoinsAdded;
use talktime_proto::events::v1::event::Kind;

use super::Ledger;
use crate::domain::WalletError;
use crate::domain::history::TxType;
use crate::domain::journal::{
    self, Account, Entry, TransferKind, debt_payment_id, payment_transfer_id,
};
use crate::domain::payment::{self, Arrived, Order, PaymentMethod};
use crate::store::payments::NewOrder;
use crate::store::posting::{self, Change, Line, Posting};
use crate::store::wallets::Wallet;
use crate::store::{payments, transfers, wallets};

/// What vouches for a payment (contract, section 9).
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub enum Proof {
    /// Nothing: the sandbox pays by itself.
    None,
    /// A payment of the sandbox.
    Sandbox {
        /// Its id.
        payment_id: String,
    },
    /// What Razorpay's checkout handed to the app.
    Razorpay {
        /// The order.
        order_id: String,
        /// The payment.
        payment_id: String,
        /// HMAC-SHA256 of both.
        signature: String,
    },
}

/// What somebody wants for their money.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Wanted {
    /// A step of the rate card.
    Step {
        /// What it costs.
        amount_paise: i64,
    },
    /// So many coins.
    Coins {
        /// How many.
        coins: i64,
        /// What they cost; zero: whatever the order says.
        amount_paise: i64,
    },
}

/// A wish for coins.
#[derive(Clone, Debug)]
pub struct Recharge {
    /// Who buys.
    pub user_id: i64,
    /// What for.
    pub wanted: Wanted,
    /// How it was paid, where the app says.
    pub payment_method: Option<PaymentMethod>,
    /// What vouches for the payment.
    pub proof: Proof,
    /// Unique, made for this request.
    pub fresh_id: String,
    /// The client's Idempotency-Key, with what it stands for.
    pub idempotency: Option<idempotency::Request>,
}

/// What a purchase came to.
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
        let mut tx = self.db.begin().await?;
        if let Some(request) = &recharge.idempotency
            && let Seen::Before(answer) = idempotency::begin(&mut tx, request).await?
        {
            return Ok(answer);
        }
        let payment = self.proved(&mut tx, now, recharge).await?;
        let recharged = credit(&mut tx, now, &payment).await?;
        if let Some(request) = &recharge.idempotency {
            idempotency::finish(&mut tx, request, &recharged).await?;
        }
        failpoint::reach("wallet.recharge.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.recharge.committed");
        self.relay.wake();
        Ok(recharged)
    }

    /// The payment that a proof vouches for, if it is this person's and for what they want.
    async fn proved(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        recharge: &Recharge,
    ) -> Result<Arrived, WalletError> {
        let order = match &recharge.proof {
            Proof::None => self.pay_in_sandbox(tx, now, recharge).await?,
            Proof::Sandbox { payment_id } => payments::find_by_payment(tx, payment_id)
                .await?
                .filter(|_| self.provider.name() == "sandbox"),
            Proof::Razorpay {
                order_id,
                payment_id,
                signature,
            } => {
                if !self.provider.vouches(order_id, payment_id, signature) {
                    return Err(WalletError::Unpaid);
                }
                payments::find(tx, order_id).await?.map(|order| Order {
                    payment_id: Some(payment_id.clone()),
                    ..order
                })
            }
        };
        let order = order.filter(|order| order.user_id == recharge.user_id);
        let order = order.ok_or(WalletError::Unpaid)?;
        if !recharge.wanted.is_what(&order) {
            return Err(WalletError::OtherPurchase);
        }
        Ok(Arrived {
            payment_id: order.payment_id.ok_or(WalletError::Unpaid)?,
            order_id: order.order_id,
            amount_paise: order.amount_paise,
            method: recharge
                .payment_method
                .map(|method| method.name().to_owned()),
        })
    }

    /// Opens an order that the sandbox pays at once. No other provider does.
    async fn pay_in_sandbox(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        recharge: &Recharge,
    ) -> Result<Option<Order>, WalletError> {
        if self.provider.name() != "sandbox" {
            return Ok(None);
        }
        let (coins, amount_paise) = match recharge.wanted {
            Wanted::Step { amount_paise } => {
                (self.terms.rate_card.coins_for(amount_paise)?, amount_paise)
            }
            Wanted::Coins {
                coins,
                amount_paise,
            } => (coins, amount_paise),
        };
        payment::check_coins(coins, amount_paise, 0)?;
        let opened = self.provider.open(&recharge.fresh_id, amount_paise).await?;
        let order = NewOrder {
            order_id: &opened.order_id,
            user_id: recharge.user_id,
            provider: self.provider.name(),
            amount_paise,
            coins,
            payment_method: recharge.payment_method.map(PaymentMethod::name),
            payment_id: opened.payment_id.as_deref(),
            ask_at: None,
        };
        payments::insert(tx, &order, now).await?;
        Ok(payments::find(tx, &opened.order_id).await?)
    }
}

impl Wanted {
    fn is_what(self, order: &Order) -> bool {
        match self {
            Self::Step { amount_paise } => amount_paise == order.amount_paise,
            Self::Coins {
                coins,
                amount_paise,
            } => coins == order.coins && [0, order.amount_paise].contains(&amount_paise),
        }
    }
}

/// Credits what an arrived payment bought, once. The lock of the wallet, then of the order, makes
/// everybody else who brings the same payment wait and find it credited.
pub(super) async fn credit(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    arrived: &Arrived,
) -> Result<Recharged, WalletError> {
    let found = payments::find(tx, &arrived.order_id).await?;
    let user_id = found.ok_or(WalletError::Unpaid)?.user_id;
    wallets::ensure(tx, &[user_id], now).await?;
    let mut locked = wallets::lock(tx, &[user_id]).await?;
    let wallet = locked.get(&user_id).copied();
    let wallet = wallet.filter(|wallet| !wallet.is_closed);
    let wallet = wallet.ok_or(WalletError::Unpaid)?;
    // Gone, if the person left while we waited for the wallet.
    let order = payments::lock(tx, &arrived.order_id).await?;
    let order = order.ok_or(WalletError::Unpaid)?;
    if order.is_paid() {
        return credited_before(tx, &order, arrived).await;
    }
    payment::check_coins(order.coins, order.amount_paise, wallet.balance_coins)?;
    let postings = postings(&wallet, &order, &arrived.payment_id);
    let made = posting::post(tx, now, &mut locked, &postings).await?;
    let transaction_id = made[&postings[0].transfer_id];
    let method = payment::method_name(arrived.method.as_deref());
    let (order_id, payment_id) = (&arrived.order_id, &arrived.payment_id);
    payments::credited(tx, order_id, payment_id, method, transaction_id, now).await?;
    let recharged = Recharged {
        transaction_id,
        amount_paise: order.amount_paise,
        coins_added: order.coins,
        balance_coins: postings[0].balance_coins,
        created_at: now,
    };
    let added = CoinsAdded {
        user_id,
        coins: order.coins,
        balance_coins: recharged.balance_coins,
        transfer_id: postings[0].transfer_id.clone(),
    };
    outbox::append(
        tx,
        user_id,
        wallet.version + 1,
        now,
        Kind::CoinsAdded(added),
    )
    .await?;
    Ok(recharged)
}

async fn credited_before(
    tx: &mut PgConnection,
    order: &Order,
    arrived: &Arrived,
) -> Result<Recharged, WalletError> {
    if order.payment_id.as_deref() != Some(&arrived.payment_id) {
        return Err(WalletError::OrderPaid {
            order_id: order.order_id.clone(),
        });
    }
    let transfer_id = payment_transfer_id(&arrived.payment_id);
    let first = transfers::find(tx, &transfer_id).await?;
    Ok(Recharged {
        transaction_id: order.transaction_id.unwrap_or_default(),
        amount_paise: order.amount_paise,
        coins_added: order.coins,
        balance_coins: first.map_or(0, |first| first.balance_coins),
        created_at: order.paid_at.unwrap_or_default(),
    })
}

/// The purchase, and what of it pays a debt at once.
fn postings(wallet: &Wallet, order: &Order, payment_id: &str) -> Vec<Posting> {
    let owed_coins = wallet.debt_coins.min(order.coins);
    let balance_coins = wallet.balance_coins + order.coins - owed_coins;
    let mut postings = vec![purchase(wallet.user_id, order, payment_id, balance_coins)];
    if owed_coins > 0 {
        postings.push(debt_payment(
            wallet.user_id,
            payment_id,
            owed_coins,
            balance_coins,
        ));
    }
    postings
}

fn purchase(user_id: i64, order: &Order, payment_id: &str, balance_coins: i64) -> Posting {
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
    let entries = [coins_entry, money_entry].into_iter();
    Posting {
        transfer_id: payment_transfer_id(payment_id),
        kind: TransferKind::Payment,
        content: format!("user {user_id} buys {} coins", order.coins),
        call_id: None,
        coins: order.coins,
        paise: order.amount_paise,
        balance_coins,
        // The sandbox gives coins for nothing, where it is asked to.
        entries: entries.filter(|entry| entry.amount > 0).collect(),
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

fn debt_payment(user_id: i64, payment_id: &str, coins: i64, balance_coins: i64) -> Posting {
    Posting {
        transfer_id: debt_payment_id(payment_id),
        kind: TransferKind::PaymentReversal,
        content: format!("user {user_id} pays {coins} coins of debt"),
        call_id: None,
        coins,
        paise: 0,
        balance_coins,
        entries: vec![Entry {
            ledger: journal::Ledger::Coins,
            debit: Account::User(user_id),
            credit: Account::UserDebt(user_id),
            amount: coins,
        }],
        owner_id: user_id,
        change: Change {
            coins: -coins,
            debt_coins: -coins,
            ..Change::default()
        },
        line: Some(Line {
            tx_type: TxType::Refund,
            coins_change: -coins,
            money_change_paise: 0,
            description: "Coins owed for a payment that was taken back".to_owned(),
        }),
    }
}
