//! Metrics of presence.

/// Registers the counters at zero, so that their first increments are visible as increases.
pub(crate) fn register_metrics() {
    record_marked_offline(0);
    record_busy_cleared(0);
}

/// Records users who were marked offline, since they sent no heartbeat.
pub(crate) fn record_marked_offline(users: u64) {
    metrics::counter!("presence_marked_offline_total").increment(users);
}

/// Records users whose outdated busy flag was cleared.
pub(crate) fn record_busy_cleared(users: u64) {
    metrics::counter!("presence_busy_cleared_total").increment(users);
}
