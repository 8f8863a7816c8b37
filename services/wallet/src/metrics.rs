//! Metrics of the wallet.

use crate::domain::order_evaluation::CapturedPaymentOutcome;

const COINS_CHARGED: &str = "coins_charged_total";
const PAISE_EARNED: &str = "listener_paise_earned_total";
const DIFFERENCES: &str = "wallet_differences";
const VERIFICATIONS: &str = "wallet_verifications_total";
const PAYMENTS_NOT_CREDITED: &str = "wallet_payments_not_credited_total";
const PAYMENT_MISMATCHES: &str = "wallet_payment_mismatches_total";
const NOTICES_IGNORED: &str = "wallet_payment_notices_ignored_total";
const CLOSED_DEBT: &str = "wallet_closed_debt_coins";
const ANCHORS: &str = "wallet_anchors_total";
const ANCHOR_DIFFERENCES: &str = "wallet_anchor_differences";
const ORDERS_GIVEN_UP: &str = "wallet_orders_given_up_total";

/// A payment that an operator has to look at in the provider's dashboard.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum PaymentAlert {
    /// It is less than its order costs, and brought nothing.
    Underpaid,
    /// It is more than its order costs, and brought what was ordered.
    Overpaid,
    /// It is in another currency, and brought nothing.
    ForeignCurrency,
    /// Another payment paid its order.
    Surplus,
    /// Its order is unknown, or was deleted with its buyer's account.
    UnknownOrder,
    /// It was reported for another order before.
    OtherOrder,
    /// The wallet cannot take the coins that it would bring.
    Refused,
}

impl PaymentAlert {
    /// The alert of an outcome; none if no operator has to act.
    pub(crate) fn for_outcome(outcome: CapturedPaymentOutcome) -> Option<Self> {
        match outcome {
            CapturedPaymentOutcome::Underpaid => Some(Self::Underpaid),
            CapturedPaymentOutcome::ForeignCurrency => Some(Self::ForeignCurrency),
            CapturedPaymentOutcome::Surplus => Some(Self::Surplus),
            CapturedPaymentOutcome::Credited | CapturedPaymentOutcome::Returned => None,
        }
    }

    /// The label of a payment that is not what its order costs; none for the others.
    fn mismatch_label(self) -> Option<&'static str> {
        match self {
            Self::Underpaid => Some("underpaid"),
            Self::Overpaid => Some("overpaid"),
            Self::ForeignCurrency => Some("foreign_currency"),
            Self::Surplus | Self::UnknownOrder | Self::OtherOrder | Self::Refused => None,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::Underpaid => "a payment is less than its order costs; it has to be refunded",
            Self::Overpaid => "a payment is more than its order costs; the rest has to be refunded",
            Self::ForeignCurrency => "a payment is not in rupees; it has to be refunded",
            Self::Surplus => "an order was paid twice; the second payment has to be refunded",
            Self::UnknownOrder => "a payment is for no order here; it may have to be refunded",
            Self::OtherOrder => "a payment was reported for two orders; the first one holds",
            Self::Refused => "a payment cannot be credited; it has to be refunded",
        }
    }

    /// Logs and counts the payment.
    pub(crate) fn raise(self, order_id: &str, payment_id: &str) {
        tracing::error!(order_id, payment_id, "{}", self.sentence());
        match self.mismatch_label() {
            Some(kind) => metrics::counter!(PAYMENT_MISMATCHES, "kind" => kind).increment(1),
            None => metrics::counter!(PAYMENTS_NOT_CREDITED).increment(1),
        }
    }
}

/// The reason why a signed notification was not booked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum IgnoredPaymentNotice {
    /// It reports no payment, or is not understood.
    Irrelevant,
    /// It was booked before.
    Repeated,
}

impl IgnoredPaymentNotice {
    const ALL: [Self; 2] = [Self::Irrelevant, Self::Repeated];

    fn name(self) -> &'static str {
        match self {
            Self::Irrelevant => "irrelevant",
            Self::Repeated => "repeated",
        }
    }
}

/// Exports every counter as zero at the start, so that its first increment is visible as an increase.
pub(crate) fn register_metrics() {
    record_coins_charged(0);
    record_paise_earned(0);
    metrics::counter!(VERIFICATIONS).increment(0);
    metrics::counter!(PAYMENTS_NOT_CREDITED).increment(0);
    metrics::counter!(ORDERS_GIVEN_UP).increment(0);
    for alert in [
        PaymentAlert::Underpaid,
        PaymentAlert::Overpaid,
        PaymentAlert::ForeignCurrency,
    ] {
        if let Some(kind) = alert.mismatch_label() {
            metrics::counter!(PAYMENT_MISMATCHES, "kind" => kind).increment(0);
        }
    }
    for reason in IgnoredPaymentNotice::ALL {
        metrics::counter!(NOTICES_IGNORED, "reason" => reason.name()).increment(0);
    }
}

/// Records coins that were taken for minutes.
pub(crate) fn record_coins_charged(coins: i64) {
    metrics::counter!(COINS_CHARGED).increment(coins.unsigned_abs());
}

/// Records money that listeners earned.
pub(crate) fn record_paise_earned(paise: i64) {
    metrics::counter!(PAISE_EARNED).increment(paise.unsigned_abs());
}

/// Records a verification of the books: the number of differences, and the coins that deleted accounts owe.
pub(crate) fn record_verification(differences: usize, closed_debt_coins: i64) {
    metrics::gauge!(DIFFERENCES).set(u32::try_from(differences).unwrap_or(u32::MAX));
    let debt = u32::try_from(closed_debt_coins).unwrap_or(u32::MAX);
    metrics::gauge!(CLOSED_DEBT).set(debt);
    metrics::counter!(VERIFICATIONS).increment(1);
}

/// Exports the metrics of anchors as zero, where chains are anchored.
pub(crate) fn register_anchors() {
    metrics::counter!(ANCHORS).increment(0);
    record_anchor_differences(0);
}

/// Records that the chains were anchored.
pub(crate) fn record_anchor() {
    metrics::counter!(ANCHORS).increment(1);
}

/// Records the chains that no longer have the link that the newest anchor names.
pub(crate) fn record_anchor_differences(differences: usize) {
    metrics::gauge!(ANCHOR_DIFFERENCES).set(u32::try_from(differences).unwrap_or(u32::MAX));
}

/// Records a signed notification that was not booked.
pub(crate) fn record_ignored_notice(reason: IgnoredPaymentNotice) {
    metrics::counter!(NOTICES_IGNORED, "reason" => reason.name()).increment(1);
}

/// Records an open order that expired because the provider answered every lookup of it with an error.
pub(crate) fn record_expired_order() {
    metrics::counter!(ORDERS_GIVEN_UP).increment(1);
}
