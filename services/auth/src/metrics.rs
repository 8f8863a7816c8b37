//! Metrics of auth.

/// Registers the counter of refusals at zero, so that its first increment is visible as an increase.
pub(crate) fn register_metrics() {
    record_lost_refusals(0);
}

/// Records refusals that the audit log does not have.
pub(crate) fn record_lost_refusals(refusals: usize) {
    let refusals = u64::try_from(refusals).unwrap_or(u64::MAX);
    metrics::counter!("auth_audit_refusals_lost_total").increment(refusals);
}

/// Records a text message by its outcome.
pub(crate) fn record_sms(outcome: &'static str) {
    metrics::counter!("auth_sms_total", "outcome" => outcome).increment(1);
}
