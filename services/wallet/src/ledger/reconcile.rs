//! Lookups of orders at the provider: of open ones, since neither the app nor a notification may have
//! reported their payment, and of credited ones, whose refund may have gone unreported.

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use futures::stream;
use talktime_kit::error::chain;

use super::WalletLedger;
use crate::domain::WalletError;
use crate::domain::provider_payment::{ProviderPaymentState, ReportedPayment};
use crate::metrics;
use crate::store::payments::{self, DuePaymentOrder};

/// Most orders that one round looks up at the provider.
const LOOKUPS_PER_ROUND: i64 = 50;
/// Lookups that wait for the provider at the same time.
const CONCURRENT_LOOKUPS: usize = 8;
/// The time after which an unpaid order expires.
const EXPIRES_AFTER: TimeDelta = TimeDelta::hours(24);
/// The time after which an order expires whose payment is not captured yet: the provider refunds it by then.
pub(super) const PENDING_EXPIRES_AFTER: TimeDelta = TimeDelta::days(6);
/// Time for which credited orders are looked up: refunds are possible for half a year.
const REFUNDS_CHECKED_FOR: TimeDelta = TimeDelta::days(180);
/// Longest wait after a failed lookup of an open order.
const RETRY_AFTER: TimeDelta = TimeDelta::minutes(15);
/// Consecutive failed lookups after which an open order is given up.
const FAILED_LOOKUPS_MAX: i32 = 10;

/// One round of lookups at the provider.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReconciledRound {
    /// Orders that were looked up.
    pub(super) looked_up: usize,
    /// Orders that were credited by its answers.
    pub(super) credited: usize,
}

impl WalletLedger {
    /// Looks up the due orders at the provider and books what it reports, each on its own: an order
    /// that the provider answers with an error does not delay the others. Returns how many were credited.
    pub async fn reconcile_orders(&self) -> Result<usize, WalletError> {
        Ok(self.reconcile_due(self.clock.now()).await?.credited)
    }

    /// Looks up the orders that were due at `now`, as [`Self::reconcile_orders`] does.
    pub(super) async fn reconcile_due(
        &self,
        now: DateTime<Utc>,
    ) -> Result<ReconciledRound, WalletError> {
        let mut tx = self.db.begin().await?;
        let due = payments::claim_due(&mut tx, now, LOOKUPS_PER_ROUND).await?;
        tx.commit().await?;
        let looked_up = due.len();
        let credited = stream::iter(due)
            .map(|order| async move { self.reconcile_or_log(now, &order).await })
            .buffer_unordered(CONCURRENT_LOOKUPS)
            .filter(|is_credited| std::future::ready(*is_credited));
        Ok(ReconciledRound {
            looked_up,
            credited: credited.count().await,
        })
    }

    /// Looks up one order; returns whether it was credited. A failure is logged.
    async fn reconcile_or_log(&self, now: DateTime<Utc>, order: &DuePaymentOrder) -> bool {
        let reconciled = match self.provider.list_payments(&order.order_id).await {
            Ok(reported) => self.reconcile_order(now, order, reported).await,
            Err(error) => {
                let (order_id, error) = (&order.order_id, chain(&error));
                tracing::warn!(
                    order_id,
                    error,
                    "failed to look up an order at the provider; a later round will retry"
                );
                self.count_failed_lookup(now, order).await
            }
        };
        reconciled.unwrap_or_else(|error| {
            let (order_id, error) = (&order.order_id, chain(&error));
            tracing::warn!(
                order_id,
                error,
                "failed to reconcile an order; a later round will retry"
            );
            false
        })
    }

    /// Books the provider's answer and expires the order when its time is over; returns whether it was
    /// credited.
    async fn reconcile_order(
        &self,
        now: DateTime<Utc>,
        order: &DuePaymentOrder,
        reported: Vec<ReportedPayment>,
    ) -> Result<bool, WalletError> {
        let is_pending = reported
            .iter()
            .any(|payment| payment.state == ProviderPaymentState::Pending);
        let is_credited = self.book_reported(&order.order_id, reported).await?;
        let mut tx = self.db.begin().await?;
        payments::set_answered(&mut tx, &order.order_id).await?;
        let age = now - order.created_at;
        if order.is_credited && age > REFUNDS_CHECKED_FOR {
            payments::stop_lookups(&mut tx, &order.order_id).await?;
        }
        let expires_after = if is_pending {
            PENDING_EXPIRES_AFTER
        } else {
            EXPIRES_AFTER
        };
        if age > expires_after {
            payments::expire(&mut tx, &order.order_id).await?;
        }
        tx.commit().await?;
        Ok(is_credited)
    }

    /// Counts a failed lookup. An open order is given up after so many that another would not
    /// help: an error that only this order has must end some day. Credited ones are looked up rarely,
    /// and their lookups end after a fixed time. Returns false, since such an order was not credited.
    async fn count_failed_lookup(
        &self,
        now: DateTime<Utc>,
        order: &DuePaymentOrder,
    ) -> Result<bool, WalletError> {
        let order_id = &order.order_id;
        let age = now - order.created_at;
        let mut tx = self.db.begin().await?;
        let mut is_given_up = false;
        if order.is_credited {
            if age > REFUNDS_CHECKED_FOR {
                payments::stop_lookups(&mut tx, order_id).await?;
            }
        } else {
            let retry_at = now + RETRY_AFTER;
            let failed = payments::count_failed_lookup(&mut tx, order_id, retry_at).await?;
            let has_failed_often = failed.is_some_and(|failed| failed >= FAILED_LOOKUPS_MAX);
            let is_over = has_failed_often && age > EXPIRES_AFTER;
            is_given_up = is_over && payments::expire(&mut tx, order_id).await?;
        }
        tx.commit().await?;
        if is_given_up {
            tracing::error!(
                order_id,
                "failed to look up an order too often; it is given up"
            );
            metrics::record_expired_order();
        }
        Ok(false)
    }
}
