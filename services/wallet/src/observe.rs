//! What the wallet tells in its metrics of the product.

const COINS_CHARGED: &str = "coins_charged_total";
const PAISE_EARNED: &str = "listener_paise_earned_total";

/// Shows everything from zero on, so that the first is seen to be one more.
pub(crate) fn begin() {
    coins_charged(0);
    paise_earned(0);
}

/// Coins were taken for minutes.
pub(crate) fn coins_charged(coins: i64) {
    metrics::counter!(COINS_CHARGED).increment(coins.unsigned_abs());
}

/// Listeners were paid for calls.
pub(crate) fn paise_earned(paise: i64) {
    metrics::counter!(PAISE_EARNED).increment(paise.unsigned_abs());
}
