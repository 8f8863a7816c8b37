//! What calls tells in its metrics of the product: calls, minutes, and how late minutes are.

use talktime_kit::db::Database;

use crate::domain::call::{Call, CallStatus, CallType};
use crate::store::calls;

const STARTED: &str = "calls_started_total";
const ENDED: &str = "calls_ended_total";
const UNDONE: &str = "calls_undone_total";
const MINUTES: &str = "minutes_billed_total";
const REPAIRS: &str = "reconciler_repairs_total";
/// The sweeper, as a reconciler.
const SWEEPER: &str = "calls-sweeper";

/// Shows everything from zero on: what has never happened is seen not to have happened, and the first
/// time is seen to be one more.
pub(crate) fn register_metrics() {
    for call_type in [CallType::Audio, CallType::Video] {
        metrics::counter!(STARTED, "call_type" => call_type.word()).increment(0);
    }
    for status in [
        CallStatus::Completed,
        CallStatus::Dropped,
        CallStatus::Cancelled,
    ] {
        metrics::counter!(ENDED, "status" => status.word()).increment(0);
    }
    metrics::counter!(UNDONE).increment(0);
    metrics::counter!(MINUTES).increment(0);
    record_repairs(0);
}

/// A call became live.
pub(crate) fn record_started(call_type: CallType) {
    metrics::counter!(STARTED, "call_type" => call_type.word()).increment(1);
}

/// A live call ended, with a status that is certain.
pub(crate) fn record_ended(status: CallStatus) {
    metrics::counter!(ENDED, "status" => status.word()).increment(1);
}

/// A start came to nothing after something was reserved.
pub(crate) fn record_undone() {
    metrics::counter!(UNDONE).increment(1);
}

/// Minutes after the first were billed, one of each of these calls, as they are now.
pub(crate) fn record_billed_minutes(calls: &[Call]) {
    metrics::counter!(MINUTES).increment(calls.len() as u64);
    for lateness in calls.iter().filter_map(Call::lateness) {
        metrics::histogram!("minute_lateness_seconds").record(lateness);
    }
}

/// The sweeper drove calls on that somebody else had left half-way.
pub(crate) fn record_repairs(calls: u64) {
    metrics::counter!(REPAIRS, "reconciler" => SWEEPER).increment(calls);
}

/// Looks up how many calls are live.
pub(crate) async fn update_live_gauge(pool: Database) -> anyhow::Result<()> {
    let live = calls::count_live(&mut *pool.acquire().await?).await?;
    metrics::gauge!("calls_live").set(live);
    Ok(())
}
