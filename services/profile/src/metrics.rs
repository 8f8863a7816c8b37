//! Metrics of the profile service.

use std::time::Duration;

use talktime_kit::Clock;

use crate::domain::feed_row::FeedConsistencyReport;

const FEED_REPAIRS: &str = "feed_drift_mended_total";
const FEED_PAGES: &str = "feed_pages_total";
const INDEX_BUILDS: &str = "feed_index_builds_total";
const INDEX_BUILD_SECONDS: &str = "feed_index_build_seconds";
const INDEX_CHANGES: &str = "feed_index_changes_total";
const INDEX_REPAIRS: &str = "feed_index_repairs_total";
const INDEX_LISTENERS: &str = "feed_index_listeners";
const INDEX_REFRESHED: &str = "feed_index_refreshed_seconds";

/// The source of a page of the feed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FeedPageSource {
    Index,
    Database,
}

/// Registers every counter at zero, so that the first increment is visible as an increase.
pub(crate) fn register_metrics() {
    record_feed_repairs(FeedConsistencyReport::default());
    for source in [FeedPageSource::Index, FeedPageSource::Database] {
        metrics::counter!(FEED_PAGES, "source" => source.label()).increment(0);
    }
    for counter in [INDEX_BUILDS, INDEX_CHANGES, INDEX_REPAIRS] {
        metrics::counter!(counter).increment(0);
    }
    for gauge in [INDEX_BUILD_SECONDS, INDEX_LISTENERS, INDEX_REFRESHED] {
        metrics::gauge!(gauge).set(0.0);
    }
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

impl FeedPageSource {
    fn label(self) -> &'static str {
        match self {
            Self::Index => "index",
            Self::Database => "database",
        }
    }
}

/// Counts a page of the feed.
pub(crate) fn count_page(source: FeedPageSource) {
    metrics::counter!(FEED_PAGES, "source" => source.label()).increment(1);
}

/// Records that the index of the feed has been built.
pub(crate) fn record_index_build(duration: Duration) {
    metrics::counter!(INDEX_BUILDS).increment(1);
    metrics::gauge!(INDEX_BUILD_SECONDS).set(duration);
}

/// Records that the index of the feed is as current as the database.
#[allow(
    clippy::cast_precision_loss,
    reason = "milliseconds since 1970 have fewer than 53 bits"
)]
pub(crate) fn record_index_refresh(listeners: usize, changes: usize) {
    metrics::gauge!(INDEX_LISTENERS).set(listeners as f64);
    metrics::counter!(INDEX_CHANGES).increment(changes as u64);
    let now = Clock::System.now().timestamp_millis() as f64 / 1_000.0;
    metrics::gauge!(INDEX_REFRESHED).set(now);
}

/// Records that there is no index.
pub(crate) fn record_index_discard() {
    metrics::gauge!(INDEX_REFRESHED).set(0.0);
}

/// Records listeners whose values in the index were wrong.
pub(crate) fn record_index_repairs(listeners: usize) {
    metrics::counter!(INDEX_REPAIRS).increment(listeners as u64);
}
