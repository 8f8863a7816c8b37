//! The messages of Razorpay's API and notifications, as far as they are read.

use chrono::DateTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::dispute::{DisputeStatus, PaymentDispute};
use crate::domain::provider_payment::{
    OrderBuyer, PaymentNotice, PaymentReport, PaymentReversal, PaymentReversalReason,
    ProviderPaymentState, ReportedOrder, ReportedPayment,
};

/// Longer than any id that Razorpay makes.
const ID_LENGTH_MAX: usize = 100;
/// Characters of an ISO 4217 code.
const CURRENCY_LENGTH: usize = 3;
const PAYMENT_CAPTURED: &str = "payment.captured";
const ORDER_PAID: &str = "order.paid";
const REFUND_PROCESSED: &str = "refund.processed";
/// The beginning of the names of events about disputes.
const DISPUTE: &str = "payment.dispute.";

/// A page of orders; each item is read by itself.
#[derive(Deserialize)]
pub(super) struct OrderList {
    pub(super) items: Vec<Value>,
}

#[derive(Deserialize)]
struct OrderEntity {
    id: String,
    /// In paise.
    amount: i64,
    amount_paid: i64,
    /// Our own notes; an empty list if there are none.
    #[serde(default)]
    notes: Value,
    /// Seconds since 1970.
    created_at: i64,
}

/// The notes that the provider keeps with an order, as texts.
#[derive(Deserialize, Serialize)]
pub(super) struct OrderNotes {
    user_id: String,
    coins: String,
}

impl From<OrderBuyer> for OrderNotes {
    fn from(buyer: OrderBuyer) -> Self {
        Self {
            user_id: buyer.user_id.to_string(),
            coins: buyer.coins.to_string(),
        }
    }
}

impl OrderNotes {
    fn into_buyer(self) -> Option<OrderBuyer> {
        Some(OrderBuyer {
            user_id: self.user_id.parse().ok()?,
            coins: self.coins.parse().ok()?,
        })
    }
}

/// Reads an order; none if it is not understood.
pub(super) fn read_order(item: Value) -> Option<ReportedOrder> {
    let order: OrderEntity = from_json(item)?;
    Some(ReportedOrder {
        order_id: Some(order.id).filter(|id| is_id(id))?,
        amount_paise: order.amount,
        is_paid: order.amount_paid > 0,
        created_at: DateTime::from_timestamp(order.created_at, 0)?,
        buyer: from_json(order.notes).and_then(OrderNotes::into_buyer),
    })
}

/// An order's list of payments; each item is read by itself.
#[derive(Deserialize)]
pub(super) struct RazorpayPaymentList {
    pub(super) items: Vec<Value>,
}

#[derive(Deserialize)]
struct RazorpayPaymentEntity {
    id: String,
    /// In the smallest unit of the currency.
    amount: i64,
    currency: String,
    status: String,
    order_id: Option<String>,
    method: Option<String>,
    amount_refunded: Option<i64>,
    /// `partial` or `full`, once something was refunded.
    refund_status: Option<String>,
    /// The offer that made the payment cheaper than its order.
    offer_id: Option<String>,
    /// The same as a collection, where offers are expanded.
    #[serde(default)]
    offers: Value,
}

/// A notification with what every kind of it has.
#[derive(Deserialize)]
struct RazorpayNoticeEvent {
    event: String,
    #[serde(default)]
    payload: Value,
}

#[derive(Deserialize)]
struct RazorpayNoticePayload {
    payment: RazorpayEntityWrapper<RazorpayPaymentEntity>,
    refund: Option<RazorpayEntityWrapper<RazorpayReversalEntity>>,
    dispute: Option<RazorpayEntityWrapper<RazorpayReversalEntity>>,
}

#[derive(Deserialize)]
struct RazorpayEntityWrapper<T> {
    entity: T,
}

/// A refund or a dispute.
#[derive(Deserialize)]
struct RazorpayReversalEntity {
    id: String,
    /// In the smallest unit of the currency.
    amount: i64,
}

impl RazorpayPaymentEntity {
    /// Converts the payment; none if it belongs to no order or has ids that we cannot store.
    fn into_report(self) -> Option<ReportedPayment> {
        let order_id = self.order_id.filter(|order_id| is_id(order_id))?;
        if !is_id(&self.id) || self.currency.len() != CURRENCY_LENGTH || !is_id(&self.currency) {
            return None;
        }
        let state = match self.status.as_str() {
            "captured" | "refunded" => ProviderPaymentState::Captured,
            "failed" => ProviderPaymentState::Failed,
            _ => ProviderPaymentState::Pending,
        };
        let mut refunded = self.amount_refunded.unwrap_or(0).max(0);
        if self.status == "refunded" || self.refund_status.as_deref() == Some("full") {
            refunded = refunded.max(self.amount);
        }
        let offers = self.offers.get("items").and_then(Value::as_array);
        let has_offers = offers.is_some_and(|offers| !offers.is_empty());
        Some(ReportedPayment {
            order_id,
            payment_id: self.id,
            state,
            amount: self.amount,
            currency: self.currency,
            is_discounted: self.offer_id.is_some() || has_offers,
            refunded,
            method: self.method,
        })
    }
}

/// Whether this has the form of the provider's ids, which is safe to store.
fn is_id(text: &str) -> bool {
    let is_short = (1..=ID_LENGTH_MAX).contains(&text.len());
    is_short
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Reads one payment; none if it is not understood or is for no order.
pub(super) fn read_payment(item: Value) -> Option<ReportedPayment> {
    from_json::<RazorpayPaymentEntity>(item)?.into_report()
}

/// Reads the body of a notification. One that is not understood names no payment.
pub(super) fn read_notice(body: &[u8]) -> PaymentNotice {
    let Ok(event) = serde_json::from_slice::<RazorpayNoticeEvent>(body) else {
        return PaymentNotice {
            event_type: String::new(),
            report: None,
        };
    };
    PaymentNotice {
        report: payment_report(&event.event, event.payload),
        event_type: event.event,
    }
}

fn from_json<T: DeserializeOwned>(value: Value) -> Option<T> {
    serde_json::from_value(value).ok()
}

/// Reads the payment that a notification reports; none if it moves no money, or is not understood.
fn payment_report(event: &str, payload: Value) -> Option<PaymentReport> {
    let disputed = event.strip_prefix(DISPUTE).and_then(dispute_status);
    let is_known = [PAYMENT_CAPTURED, ORDER_PAID, REFUND_PROCESSED].contains(&event);
    if !is_known && disputed.is_none() {
        return None;
    }
    let payload: RazorpayNoticePayload = from_json(payload)?;
    let payment = payload.payment.entity.into_report()?;
    let mut report = PaymentReport::from(payment);
    if event == REFUND_PROCESSED {
        let refund = payload.refund?.entity;
        report.reversal = Some(refund.into_reversal(PaymentReversalReason::Refund)?);
    } else if let Some(status) = disputed {
        let lost = payload.dispute?.entity;
        let lost = lost.into_reversal(PaymentReversalReason::Chargeback)?;
        report.dispute = Some(PaymentDispute {
            dispute_id: lost.reversal_id.clone(),
            amount: lost.amount,
            status,
        });
        report.reversal = (status == DisputeStatus::Lost).then_some(lost);
    }
    Some(report)
}

/// The status of a dispute after an event; none for events that are not known.
fn dispute_status(event: &str) -> Option<DisputeStatus> {
    match event {
        "created" | "under_review" | "action_required" => Some(DisputeStatus::Open),
        "won" => Some(DisputeStatus::Won),
        "lost" => Some(DisputeStatus::Lost),
        "closed" => Some(DisputeStatus::Closed),
        _ => None,
    }
}

impl RazorpayReversalEntity {
    fn into_reversal(self, reason: PaymentReversalReason) -> Option<PaymentReversal> {
        (is_id(&self.id) && self.amount > 0).then_some(PaymentReversal {
            reversal_id: self.id,
            amount: self.amount,
            reason,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAYMENT: &str = r#""payment": {"entity": {"id": "pay_1", "entity": "payment", "amount": 15000,
        "currency": "INR", "status": "captured", "order_id": "order_1", "method": "upi"}}"#;

    fn reported(event: &str, payload: &str) -> Option<PaymentReport> {
        let body =
            format!(r#"{{"entity": "event", "event": "{event}", "payload": {{{payload}}}}}"#);
        read_notice(body.as_bytes()).report
    }

    fn captured() -> ReportedPayment {
        ReportedPayment {
            order_id: "order_1".to_owned(),
            payment_id: "pay_1".to_owned(),
            state: ProviderPaymentState::Captured,
            amount: 15_000,
            currency: "INR".to_owned(),
            is_discounted: false,
            refunded: 0,
            method: Some("upi".to_owned()),
        }
    }

    #[test]
    fn notifications_are_read() {
        for event in [PAYMENT_CAPTURED, ORDER_PAID] {
            assert_eq!(reported(event, PAYMENT), Some(captured().into()));
        }
        let refund = r#", "refund": {"entity": {"id": "rfnd_1", "amount": 5000}}"#;
        let refund = reported(REFUND_PROCESSED, &format!("{PAYMENT}{refund}"));
        let reversal = PaymentReversal {
            reversal_id: "rfnd_1".to_owned(),
            amount: 5_000,
            reason: PaymentReversalReason::Refund,
        };
        let expected = PaymentReport {
            payment: captured(),
            reversal: Some(reversal),
            dispute: None,
        };
        assert_eq!(refund, Some(expected));
    }

    #[test]
    fn only_a_lost_dispute_takes_money_back() {
        let dispute = r#", "dispute": {"entity": {"id": "disp_1", "amount": 15000}}"#;
        let lost = PaymentReversal {
            reversal_id: "disp_1".to_owned(),
            amount: 15_000,
            reason: PaymentReversalReason::Chargeback,
        };
        for (event, status) in [
            ("created", DisputeStatus::Open),
            ("under_review", DisputeStatus::Open),
            ("action_required", DisputeStatus::Open),
            ("won", DisputeStatus::Won),
            ("closed", DisputeStatus::Closed),
            ("lost", DisputeStatus::Lost),
        ] {
            let report = reported(&format!("{DISPUTE}{event}"), &format!("{PAYMENT}{dispute}"));
            let report = report.expect("a report");
            let expected = PaymentDispute {
                dispute_id: "disp_1".to_owned(),
                amount: 15_000,
                status,
            };
            assert_eq!(report.dispute, Some(expected), "{event}");
            let is_lost = status == DisputeStatus::Lost;
            assert_eq!(report.reversal, is_lost.then(|| lost.clone()), "{event}");
        }
        assert_eq!(
            reported("payment.dispute.lost", PAYMENT),
            None,
            "no dispute"
        );
    }

    #[test]
    fn the_fields_of_a_payment_are_read() {
        let status = |from: &str, to: &str| {
            let payment = PAYMENT.replace(from, to);
            reported(PAYMENT_CAPTURED, &payment)
                .expect("a payment")
                .payment
        };
        let authorized = status("\"captured\"", "\"authorized\"");
        assert_eq!(authorized.state, ProviderPaymentState::Pending);
        let refunded = status("\"captured\"", "\"refunded\"");
        assert_eq!(
            (refunded.state, refunded.refunded),
            (ProviderPaymentState::Captured, 15_000)
        );
        let part = status("\"method\"", "\"amount_refunded\": 5000, \"method\"");
        assert_eq!(part.refunded, 5_000);
        let full = status("\"method\"", "\"refund_status\": \"full\", \"method\"");
        assert_eq!(full.refunded, 15_000);
        assert_eq!(status("INR", "USD").currency, "USD");
        assert!(status("\"method\"", "\"offer_id\": \"offer_1\", \"method\"").is_discounted);
        assert!(!status("\"method\"", "\"offer_id\": null, \"method\"").is_discounted);
        for (offers, is_discounted) in [
            (r#"{"count": 1, "items": [{"id": "offer_1"}]}"#, true),
            (r#"{"count": 0, "items": []}"#, false),
            ("[]", false),
            ("null", false),
        ] {
            let payment = status("\"method\"", &format!("\"offers\": {offers}, \"method\""));
            assert_eq!(payment.is_discounted, is_discounted, "{offers}");
        }
    }

    #[test]
    fn irrelevant_and_unreadable_notifications_report_no_payment() {
        for event in [
            "payment.failed",
            "payment.dispute.discussed",
            "refund.created",
            "new.event",
        ] {
            assert_eq!(reported(event, PAYMENT), None, "{event}");
        }
        for payload in [
            String::new(),
            PAYMENT.replace("15000", "15000.5"),
            PAYMENT.replace("15000", "\"15000\""),
            PAYMENT.replace("15000", "99999999999999999999"),
            PAYMENT.replace("\"order_1\"", "null"),
            PAYMENT.replace("pay_1", "pay\\u0000"),
        ] {
            assert_eq!(reported(PAYMENT_CAPTURED, &payload), None, "{payload}");
        }
        assert_eq!(reported(REFUND_PROCESSED, PAYMENT), None, "no refund");
        for body in ["not JSON", "[]", "{}", r#"{"event": 7}"#] {
            assert_eq!(read_notice(body.as_bytes()).report, None, "{body}");
        }
    }
}
