//! Metrics of verification.

/// Records whether the bucket answered its last check.
pub(crate) fn record_bucket_reachable(is_reachable: bool) {
    metrics::gauge!("verification_bucket_reachable").set(if is_reachable { 1.0 } else { 0.0 });
}

/// Counts objects that the reconciler has removed.
pub(crate) fn record_removed_objects(objects: u64) {
    metrics::counter!("reconciler_repairs_total", "reconciler" => "verification-bucket")
        .increment(objects);
}
