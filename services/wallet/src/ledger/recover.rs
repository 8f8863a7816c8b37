//! Payments that the provider knows and a restored database does not.

use std::collections::HashSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::db::{self, PgConnection};
use tokio::time::Instant;

use super::WalletLedger;
use super::reconcile::PENDING_EXPIRES_AFTER;
use crate::domain::WalletError;
use crate::domain::payment::{self, SANDBOX};
use crate::domain::provider_payment::{OrderBuyer, ReportedOrder};
use crate::store::payments::{self, NewPaymentOrder};
use crate::store::wallets;

/// The provider's clock may differ from that of the database by this much, and an order is stored so much later
/// than the provider has opened it.
const OPENED_BEFORE_STORED_MAX: TimeDelta = TimeDelta::hours(1);
/// An order is lost for at most as long as a database can go back: the longest time that backups are kept.
const RESTORED_BACK_MAX: TimeDelta = TimeDelta::days(30);
/// All requests to the provider together take no longer; a second run sends the rest.
const LOOKUPS_TIMEOUT: Duration = Duration::from_hours(1);

/// Orders that the provider knows and the database does not.
#[derive(Clone, Debug)]
pub struct LostOrders {
    /// Orders of people with an open wallet, to be stored again, whether they were paid or not.
    pub recoverable: Vec<(ReportedOrder, OrderBuyer)>,
    /// Paid orders of unknown buyers, or of buyers who signed up after the restored moment. They credit nothing:
    /// an operator refunds them.
    pub refundable: Vec<ReportedOrder>,
    /// Orders that the provider has opened since then were compared.
    since: DateTime<Utc>,
}

/// The outcome of a recovery.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RecoveredOrders {
    /// Orders that were looked up at the provider.
    pub looked_up: usize,
    /// Orders that were credited.
    pub credited: usize,
}

impl WalletLedger {
    /// Compares the provider's orders since the restored moment with the database. Changes nothing.
    ///
    /// # Errors
    /// The provider or the database does not answer.
    pub async fn find_lost_orders(&self) -> Result<LostOrders, WalletError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        db::allow_full_scans(&mut tx).await?;
        let newest = payments::find_newest_time(&mut tx).await?;
        tx.rollback().await?;
        let earliest = now - RESTORED_BACK_MAX;
        let since = newest.map_or(earliest, |newest| newest - OPENED_BEFORE_STORED_MAX);
        let reported = self.provider.list_orders(since, now).await?;
        self.compare_orders(reported, since).await
    }

    async fn compare_orders(
        &self,
        reported: Vec<ReportedOrder>,
        since: DateTime<Utc>,
    ) -> Result<LostOrders, WalletError> {
        let mut tx = self.db.begin().await?;
        db::allow_full_scans(&mut tx).await?;
        let order_ids: Vec<&str> = reported.iter().map(|order| &*order.order_id).collect();
        let known = payments::find_known(&mut tx, &order_ids).await?;
        let known: HashSet<String> = known.into_iter().collect();
        let (mut recoverable, mut refundable) = (Vec::new(), Vec::new());
        for order in reported {
            if known.contains(&order.order_id) {
                continue;
            }
            match find_buyer(&mut tx, &order).await? {
                Some(buyer) => recoverable.push((order, buyer)),
                None if order.is_paid => refundable.push(order),
                None => {}
            }
        }
        tx.rollback().await?;
        Ok(LostOrders {
            recoverable,
            refundable,
            since,
        })
    }

    /// Stores the lost orders again, and looks up at the provider all that may have been paid since. Each payment
    /// is credited once under its own id, as by any other report.
    ///
    /// The orders are stored in one transaction, so a recovery that was interrupted finds either all of them or
    /// none, and begins again.
    ///
    /// # Errors
    /// The provider or the database does not answer.
    pub async fn recover_orders(&self, lost: &LostOrders) -> Result<RecoveredOrders, WalletError> {
        if self.provider.name() == SANDBOX {
            return Ok(RecoveredOrders::default());
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        db::allow_full_scans(&mut tx).await?;
        for (order, buyer) in &lost.recoverable {
            self.store_order(&mut tx, order, *buyer).await?;
        }
        let opened_after = lost.since - PENDING_EXPIRES_AFTER;
        payments::reopen_unpaid(&mut tx, self.provider.name(), opened_after, now).await?;
        tx.commit().await?;
        self.look_up_all(now).await
    }

    async fn store_order(
        &self,
        tx: &mut PgConnection,
        order: &ReportedOrder,
        buyer: OrderBuyer,
    ) -> Result<(), WalletError> {
        let new_order = NewPaymentOrder {
            order_id: &order.order_id,
            user_id: buyer.user_id,
            provider: self.provider.name(),
            amount_paise: order.amount_paise,
            coins: buyer.coins,
            payment_method: None,
            payment_id: None,
            ask_at: None,
        };
        Ok(payments::insert(tx, &new_order, order.created_at).await?)
    }

    /// Looks up every order that is due at `now`. An order that was looked up is due later than that, so the
    /// rounds come to an end.
    async fn look_up_all(&self, now: DateTime<Utc>) -> Result<RecoveredOrders, WalletError> {
        let mut recovered = RecoveredOrders::default();
        let deadline = Instant::now() + LOOKUPS_TIMEOUT;
        while Instant::now() < deadline {
            let round = self.reconcile_due(now).await?;
            if round.looked_up == 0 {
                return Ok(recovered);
            }
            recovered.looked_up += round.looked_up;
            recovered.credited += round.credited;
        }
        Err(WalletError::ProviderUnavailable(
            "not all orders could be looked up in time".to_owned(),
        ))
    }
}

/// The buyer of a lost order, if their wallet is open and the order is one that we could have opened.
async fn find_buyer(
    tx: &mut PgConnection,
    order: &ReportedOrder,
) -> Result<Option<OrderBuyer>, WalletError> {
    let Some(buyer) = order.buyer else {
        return Ok(None);
    };
    let is_ours = payment::check_coins(buyer.coins, order.amount_paise, 0).is_ok();
    let is_open = wallets::is_open(tx, buyer.user_id).await?;
    Ok(Some(buyer).filter(|_| is_ours && is_open))
}
