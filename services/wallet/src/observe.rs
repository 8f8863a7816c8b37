//! What the wallet tells in its metrics of the product.

const COINS_CHARGED: &str = "coins_charged_total";
const PAISE_EARNED: &str = "listener_paise_earned_total";
const DIFFERENCES: &str = "wallet_differences";
const VERIFICATIONS: &str = "wallet_verifications_total";
const PAYMENTS_NOT_CREDITED: &str = "wallet_payments_not_credited_total";

/// Shows everything from zero on, so that the first is seen to be one more.
pub(crate) fn begin() {
    coins_charged(0);
    paise_earned(0);
    metrics::counter!(VERIFICATIONS).increment(0);
    metrics::counter!(PAYMENTS_NOT_CREDITED).increment(0);
}

/// Coins were taken for minutes.
pub(crate) fn coins_charged(coins: i64) {
    metrics::counter!(COINS_CHARGED).increment(coins.unsigned_abs());
}

/// Listeners were paid for calls.
pub(crate) fn paise_earned(paise: i64) {
    metrics::counter!(PAISE_EARNED).increment(paise.unsigned_abs());
}

/// The books were looked through, and disagree in so many places.
pub(crate) fn verified(differences: usize) {
    metrics::gauge!(DIFFERENCES).set(u32::try_from(differences).unwrap_or(u32::MAX));
    metrics::counter!(VERIFICATIONS).increment(1);
}

/// The provider has a payment that nobody here can be credited with.
pub(crate) fn payment_not_credited() {
    metrics::counter!(PAYMENTS_NOT_CREDITED).increment(1);
}
