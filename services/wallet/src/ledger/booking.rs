//! Booking reports of the provider about payments. Notifications, proofs of apps and answers of the API all
//! end here.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;

use super::credit::{CreditedPayment, credit_order};
use super::disputes::DisputedPayment;
use super::reversal::{OrderReversalPlan, reverse_closed, reverse_order};
use super::{RechargeOutcome, WalletLedger};
use crate::domain::WalletError;
use crate::domain::journal::payment_transfer_id;
use crate::domain::order_evaluation::{CapturedPaymentOutcome, PaymentDecision, evaluate_order};
use crate::domain::payment::PaymentOrder;
use crate::domain::provider_payment::{
    PaymentReport, PaymentReversalReason, ProviderPaymentState, ReportedPayment,
};
use crate::metrics::PaymentAlert;
use crate::store::order_payments::{self, PaymentRecord};
use crate::store::wallets::LockedWallets;
use crate::store::{closed_wallets, payments, transfers, wallets};

/// The result of booking reports about one order.
#[derive(Debug, Default)]
pub(super) struct OrderBookingOutcome {
    /// The purchase, if the order was credited by these reports.
    pub(super) credited: Option<RechargeOutcome>,
    alerts: Vec<(PaymentAlert, String)>,
}

impl OrderBookingOutcome {
    fn add_alert(&mut self, alert: PaymentAlert, payment_id: &str) {
        self.alerts.push((alert, payment_id.to_owned()));
    }

    /// Logs and counts payments that an operator has to look at. Called after the commit.
    pub(super) fn raise_alerts(&self, order_id: &str) {
        for (alert, payment_id) in &self.alerts {
            alert.raise(order_id, payment_id);
        }
    }
}

impl WalletLedger {
    /// Books what the provider's API reports about an order; returns whether it credited the order.
    pub(super) async fn book_reported(
        &self,
        order_id: &str,
        reported: Vec<ReportedPayment>,
    ) -> Result<bool, WalletError> {
        let reports: Vec<PaymentReport> = reported.into_iter().map(Into::into).collect();
        let mut tx = self.db.begin().await?;
        let booking = book_reports(&mut tx, self.clock.now(), order_id, &reports).await?;
        tx.commit().await?;
        booking.raise_alerts(order_id);
        self.relay.wake();
        Ok(booking.credited.is_some())
    }
}

/// Books reports about payments of one order. The lock of the wallet, then of the order, makes everybody
/// else who brings the same payment wait and find it booked.
pub(super) async fn book_reports(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    order_id: &str,
    reports: &[PaymentReport],
) -> Result<OrderBookingOutcome, WalletError> {
    let Some(found) = payments::find(tx, order_id).await? else {
        return book_without_order(tx, now, reports).await;
    };
    wallets::insert_missing(tx, &[found.user_id], now).await?;
    let mut locked = lock_with_successor(tx, found.user_id).await?;
    // The buyer may have been deleted while we waited for the lock, and the order with them.
    let Some(order) = payments::lock(tx, order_id).await? else {
        return book_without_order(tx, now, reports).await;
    };
    let mut booking = OrderBookingOutcome::default();
    for report in captured_reports(reports) {
        record_report(tx, now, report, &mut booking).await?;
    }
    let records = order_payments::lock_by_order(tx, order_id).await?;
    let payments: Vec<_> = records.iter().map(PaymentRecord::captured).collect();
    for (decision, record) in evaluate_order(&order, &payments).iter().zip(&records) {
        let context = PaymentDecisionContext {
            order: &order,
            decision,
            record,
            report: reports
                .iter()
                .find(|report| report.payment.payment_id == record.payment_id),
        };
        context
            .apply_decision(tx, now, &mut locked, &mut booking)
            .await?;
    }
    Ok(booking)
}

/// Locks the wallet of a buyer, together with that of the account that owes what a deleted one does.
async fn lock_with_successor(
    tx: &mut PgConnection,
    user_id: i64,
) -> Result<LockedWallets, WalletError> {
    let successor = closed_wallets::find_successor(tx, user_id).await?;
    let parties: Vec<i64> = [user_id].into_iter().chain(successor).collect();
    Ok(wallets::lock(tx, &parties).await?)
}

/// Reports about money that arrived, by payment, so that two bookings wait for each other in one order.
fn captured_reports(reports: &[PaymentReport]) -> Vec<&PaymentReport> {
    let captured = |report: &&PaymentReport| report.payment.state == ProviderPaymentState::Captured;
    let mut reports: Vec<&PaymentReport> = reports.iter().filter(captured).collect();
    reports.sort_unstable_by_key(|report| &report.payment.payment_id);
    reports
}

async fn record_report(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    report: &PaymentReport,
    booking: &mut OrderBookingOutcome,
) -> Result<(), WalletError> {
    let payment = &report.payment;
    if !order_payments::upsert(tx, payment, now).await? {
        booking.add_alert(PaymentAlert::OtherOrder, &payment.payment_id);
        return Ok(());
    }
    if let Some(reversal) = &report.reversal {
        order_payments::insert_reversal(tx, &payment.payment_id, reversal, now).await?;
    }
    Ok(())
}

/// A decision about one payment of a locked order, with the data that it was made from.
struct PaymentDecisionContext<'a> {
    order: &'a PaymentOrder,
    decision: &'a PaymentDecision,
    record: &'a PaymentRecord,
    report: Option<&'a PaymentReport>,
}

impl PaymentDecisionContext<'_> {
    async fn apply_decision(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
        locked: &mut LockedWallets,
        booking: &mut OrderBookingOutcome,
    ) -> Result<(), WalletError> {
        let Self {
            order,
            decision,
            record,
            report,
        } = *self;
        if decision.outcome != CapturedPaymentOutcome::Credited {
            if !record.has_outcome(decision.outcome) {
                order_payments::set_outcome(tx, &record.payment_id, decision.outcome).await?;
                if let Some(alert) = PaymentAlert::for_outcome(decision.outcome) {
                    booking.add_alert(alert, &record.payment_id);
                }
            }
            return Ok(());
        }
        if !order.is_paid() && locked[&order.user_id].is_closed {
            booking.add_alert(PaymentAlert::UnknownOrder, &record.payment_id);
            return Ok(());
        }
        if !order.is_paid() {
            let method = report.and_then(|report| report.payment.method.as_deref());
            let payment = CreditedPayment {
                payment_id: &record.payment_id,
                price_paise: decision.price_paise,
                method,
            };
            booking.credited = Some(credit_order(tx, now, locked, order, &payment).await?);
            if record.is_above(order.amount_paise) {
                booking.add_alert(PaymentAlert::Overpaid, &record.payment_id);
            }
        }
        if !record.has_outcome(CapturedPaymentOutcome::Credited) {
            let (price_paise, coins) = (decision.price_paise, order.coins);
            order_payments::set_credited(tx, &record.payment_id, price_paise, coins).await?;
        }
        if let Some(dispute) = report.and_then(|report| report.dispute.as_ref()) {
            let disputed = DisputedPayment {
                owner_id: order.user_id,
                // A loss is part of the record already, and what it takes is not at stake any more.
                payment: &record.captured(),
                price_paise: decision.price_paise,
                coins: order.coins,
                paid_at: order.paid_at.unwrap_or(now),
                dispute,
            };
            disputed.apply_report(tx, now).await?;
        }
        let reason = reversal_reason(report);
        if locked[&order.user_id].is_closed {
            return reverse_closed_order(tx, now, locked, order, record, reason).await;
        }
        let reversal = OrderReversalPlan {
            order,
            record,
            reversed: decision.reversed,
            reason,
        };
        reverse_order(tx, now, &reversal).await
    }
}

/// Reverses a payment of an order whose buyer was deleted.
async fn reverse_closed_order(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    locked: &mut LockedWallets,
    order: &PaymentOrder,
    record: &PaymentRecord,
    reason: PaymentReversalReason,
) -> Result<(), WalletError> {
    let reversed = reverse_closed(tx, now, locked, order.user_id, record, reason).await?;
    if let Some(reversed) = reversed {
        payments::set_reversed(tx, &order.order_id, reversed).await?;
    }
    Ok(())
}

/// The reason of a reversal. The provider's API reports only refunds.
fn reversal_reason(report: Option<&PaymentReport>) -> PaymentReversalReason {
    let reversal = report.and_then(|report| report.reversal.as_ref());
    reversal.map_or(PaymentReversalReason::Refund, |reversal| reversal.reason)
}

/// Books reversals of payments whose orders an earlier release has deleted with their buyers. Other reports about an unknown
/// order raise an alert.
async fn book_without_order(
    tx: &mut PgConnection,
    now: DateTime<Utc>,
    reports: &[PaymentReport],
) -> Result<OrderBookingOutcome, WalletError> {
    let mut booking = OrderBookingOutcome::default();
    for report in captured_reports(reports) {
        let payment = &report.payment;
        let transfer_id = payment_transfer_id(&payment.payment_id);
        let owner_id = transfers::find_owner(tx, &transfer_id).await?;
        let Some(owner_id) = owner_id else {
            if payment.refunded < payment.amount && report.reversal.is_none() {
                booking.add_alert(PaymentAlert::UnknownOrder, &payment.payment_id);
            }
            continue;
        };
        let mut locked = lock_with_successor(tx, owner_id).await?;
        record_report(tx, now, report, &mut booking).await?;
        let found = order_payments::find(tx, &payment.payment_id).await?;
        if let Some(record) = found.filter(|record| record.order_id == payment.order_id) {
            reverse_closed(
                tx,
                now,
                &mut locked,
                owner_id,
                &record,
                reversal_reason(Some(report)),
            )
            .await?;
        }
    }
    Ok(booking)
}
