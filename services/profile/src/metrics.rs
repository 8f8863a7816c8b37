//! Metrics of the profile service.

use crate::domain::feed_row::FeedConsistencyReport;

const FEED_REPAIRS: &str = "feed_drift_mended_total";

/// Registers every counter at zero, so that the first increment is visible as an increase.
pub(crate) fn register_metrics() {
    record_feed_repairs(FeedConsistencyReport::default());
}

/// Records what a comparison of the feed has repaired.
pub(crate) fn record_feed_repairs(report: FeedConsistencyReport) {
    for (kind, repairs) in [
        ("row", report.misplaced),
        ("status", report.statuses),
        ("totals", report.totals),
        ("standing", report.standings),
    ] {
        metrics::counter!(FEED_REPAIRS, "what" => kind).increment(repairs);
    }
}
