//! Reports of a payment provider, in words that do not depend on the provider.

use chrono::{DateTime, Utc};
use talktime_kit::text_enum;

use super::dispute::PaymentDispute;

/// The state of a payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ProviderPaymentState {
    /// The buyer has begun or authorized it; the money is not ours yet.
    Pending,
    /// The money arrived. It may have gone back since.
    Captured,
    /// No money will arrive.
    Failed,
}

/// A payment as the provider reports it at one moment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReportedPayment {
    /// The order that it is for.
    pub order_id: String,
    /// Its id at the provider.
    pub payment_id: String,
    pub state: ProviderPaymentState,
    /// The sum, in the smallest unit of its currency.
    pub amount: i64,
    /// The currency, by its ISO 4217 code.
    pub currency: String,
    /// Whether the provider granted the buyer a discount on the order.
    pub is_discounted: bool,
    /// The sum that was refunded so far, in the smallest unit of its currency.
    pub refunded: i64,
    /// The payment method, by the provider's name.
    pub method: Option<String>,
}

/// The reason of a reversal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PaymentReversalReason {
    /// We gave it back.
    Refund,
    /// The bank took it back.
    Chargeback,
}

text_enum!(PaymentReversalReason {
    Refund => "refund",
    Chargeback => "chargeback",
});

/// Money of a payment that went back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PaymentReversal {
    /// Its id at the provider.
    pub reversal_id: String,
    /// The amount, in the smallest unit of the payment's currency.
    pub amount: i64,
    pub reason: PaymentReversalReason,
}

/// A provider's notification, proved to be its own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PaymentNotice {
    /// The provider's word for what happened; empty if the notification names nothing.
    pub event_type: String,
    /// The payment that it reports, if it reports one that concerns an order.
    pub report: Option<PaymentReport>,
}

/// A payment, and the reversal that a notification is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PaymentReport {
    pub payment: ReportedPayment,
    /// The reversal, where the notification is about one.
    pub reversal: Option<PaymentReversal>,
    /// The dispute, where the notification is about one.
    pub dispute: Option<PaymentDispute>,
}

impl From<ReportedPayment> for PaymentReport {
    fn from(payment: ReportedPayment) -> Self {
        Self {
            payment,
            reversal: None,
            dispute: None,
        }
    }
}

/// The buyer of an order and the coins that it buys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct OrderBuyer {
    pub user_id: i64,
    pub coins: i64,
}

/// An order as its provider lists it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ReportedOrder {
    /// Its id at the provider.
    pub order_id: String,
    /// The price, in paise.
    pub amount_paise: i64,
    /// Whether a payment was captured.
    pub is_paid: bool,
    pub created_at: DateTime<Utc>,
    /// None for an order that was opened by hand, or before the provider got the buyers of orders.
    pub buyer: Option<OrderBuyer>,
}
