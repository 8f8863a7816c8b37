//! What happens between the provider and us: orders are opened, notices come, open orders are asked
//! about.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::failpoint;

use super::Ledger;
use super::purchase::credit;
use super::reversal::reverse;
use crate::domain::WalletError;
use crate::domain::payment::{Arrived, Happening, Notice};
use crate::observe;
use crate::store::payments::{self, Due, NewOrder};

/// Before the provider is asked about an order first, and the unit of the waits that follow.
const FIRST_WAIT: TimeDelta = TimeDelta::minutes(1);
/// Orders that one round asks about, at most.
const ASKED_AT_ONCE: i64 = 50;
/// Orders that nobody paid for so long are given up.
const EXPIRES_AFTER: TimeDelta = TimeDelta::hours(24);
/// Longer than any provider tells the same again.
const EVENTS_KEPT: TimeDelta = TimeDelta::days(30);
const FORGOTTEN_AT_ONCE: i64 = 1_000;

/// An order that was opened.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OpenOrder {
    /// The provider's id of it.
    pub order_id: String,
    /// The provider's name.
    pub provider: &'static str,
    /// What it costs.
    pub amount_paise: i64,
    /// What it brings.
    pub coins: i64,
    /// In the sandbox: the payment that pays it.
    pub payment_id: Option<String>,
    /// What the app needs to pay it.
    pub public_key: Option<String>,
    /// When it was opened.
    pub created_at: DateTime<Utc>,
}

impl Ledger {
    /// Opens an order for a step of the rate card; the price is ours. An order that is opened and not
    /// kept, because this process dies in between, is one that nobody can pay.
    pub async fn open_order(
        &self,
        user_id: i64,
        amount_paise: i64,
        fresh_id: &str,
    ) -> Result<OpenOrder, WalletError> {
        let now = self.clock.now();
        let coins = self.terms.rate_card.coins_for(amount_paise)?;
        let opened = self.provider.open(fresh_id, amount_paise).await?;
        let provider = self.provider.name();
        let order = NewOrder {
            order_id: &opened.order_id,
            user_id,
            provider,
            amount_paise,
            coins,
            payment_method: None,
            payment_id: opened.payment_id.as_deref(),
            // What the sandbox knows is known already.
            ask_at: opened.payment_id.is_none().then_some(now + FIRST_WAIT),
        };
        let mut tx = self.db.begin().await?;
        payments::insert(&mut tx, &order, now).await?;
        tx.commit().await?;
        Ok(OpenOrder {
            order_id: opened.order_id,
            provider,
            amount_paise,
            coins,
            payment_id: opened.payment_id,
            public_key: self.provider.public_key().map(ToOwned::to_owned),
            created_at: now,
        })
    }

    /// Does what a provider's message says, once, however often it comes.
    pub async fn hear(
        &self,
        body: &[u8],
        signature: &str,
        event_id: &str,
    ) -> Result<(), WalletError> {
        let notice = self.provider.read_notice(body, signature)?;
        if event_id.is_empty() || event_id.len() > 200 {
            return Err(WalletError::OutOfRange("the id of a notice"));
        }
        let Notice {
            event_type,
            happening,
        } = notice;
        let now = self.clock.now();
        let provider = self.provider.name();
        let mut tx = self.db.begin().await?;
        if !payments::remember_event(&mut tx, provider, event_id, &event_type, now).await? {
            return Ok(());
        }
        let done = match &happening {
            Happening::Arrived(arrived) => credit(&mut tx, now, arrived).await.map(|_| ()),
            Happening::Reversed(arrived, reversal) => {
                reverse(&mut tx, now, arrived, reversal).await
            }
            Happening::Other => Ok(()),
        };
        let_pass_what_is_not_ours(done)?;
        failpoint::reach("wallet.notice.before_commit");
        tx.commit().await?;
        failpoint::reach("wallet.notice.committed");
        self.relay.wake();
        Ok(())
    }

    /// Asks the provider about orders that stay open, because neither the app nor a notice told of
    /// their payment. Answers how many it credited.
    pub async fn reconcile_orders(&self) -> Result<usize, WalletError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let due = payments::claim_due(&mut tx, now, FIRST_WAIT, ASKED_AT_ONCE).await?;
        tx.commit().await?;
        let mut credited = 0;
        for order in due {
            credited += usize::from(self.reconcile(now, &order).await?);
        }
        Ok(credited)
    }

    async fn reconcile(&self, now: DateTime<Utc>, due: &Due) -> Result<bool, WalletError> {
        let Some(arrived) = self.provider.payment_of(&due.order_id).await? else {
            if due.created_at + EXPIRES_AFTER < now {
                let mut tx = self.db.begin().await?;
                payments::expire(&mut tx, &due.order_id).await?;
                tx.commit().await?;
            }
            return Ok(false);
        };
        self.credit_arrived(&arrived).await?;
        Ok(true)
    }

    async fn credit_arrived(&self, arrived: &Arrived) -> Result<(), WalletError> {
        let mut tx = self.db.begin().await?;
        let credited = credit(&mut tx, self.clock.now(), arrived).await.map(|_| ());
        let_pass_what_is_not_ours(credited)?;
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Forgets notices that nobody can send again.
    pub async fn forget_old_notices(&self) -> Result<(), WalletError> {
        let before = self.clock.now() - EVENTS_KEPT;
        loop {
            let mut tx = self.db.begin().await?;
            let forgotten = payments::forget_events(&mut tx, before, FORGOTTEN_AT_ONCE).await?;
            tx.commit().await?;
            if forgotten < FORGOTTEN_AT_ONCE.unsigned_abs() {
                return Ok(());
            }
        }
    }
}

/// An order of nobody here, or one that another payment paid: telling us again would not help, but
/// somebody has to look.
fn let_pass_what_is_not_ours(done: Result<(), WalletError>) -> Result<(), WalletError> {
    match done {
        Err(error @ (WalletError::Unpaid | WalletError::OrderPaid { .. })) => {
            tracing::error!(%error, "a payment cannot be credited; it may have to be refunded");
            observe::payment_not_credited();
            Ok(())
        }
        done => done,
    }
}
