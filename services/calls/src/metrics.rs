//! Business metrics of the calls service: calls, minutes, and the lateness of minutes.

use talktime_kit::db::Database;

use crate::domain::call::{Call, CallStatus, CallType};
use crate::store::calls;

const STARTED: &str = "calls_started_total";
const ENDED: &str = "calls_ended_total";
const UNDONE: &str = "calls_undone_total";
const MINUTES: &str = "minutes_billed_total";
const REPAIRS: &str = "reconciler_repairs_total";
/// Label of the sweeper as a reconciler.
const SWEEPER: &str = "calls-sweeper";

/// Registers every counter at zero, so that the first increment is visible as an increase.
pub(crate) fn register_metrics() {
    for call_type in [CallType::Audio, CallType::Video] {
        metrics::counter!(STARTED, "call_type" => call_type.name()).increment(0);
    }
    for status in [
        CallStatus::Completed,
        CallStatus::Dropped,
        CallStatus::Cancelled,
    ] {
        metrics::counter!(ENDED, "status" => status.name()).increment(0);
    }
    metrics::counter!(UNDONE).increment(0);
    metrics::counter!(MINUTES).increment(0);
    record_repairs(0);
}

/// Records that a call went live.
pub(crate) fn record_started(call_type: CallType) {
    metrics::counter!(STARTED, "call_type" => call_type.name()).increment(1);
}

/// Records that a call ended with a final status.
pub(crate) fn record_ended(status: CallStatus) {
    metrics::counter!(ENDED, "status" => status.name()).increment(1);
}

/// Records that a start was undone after a reservation.
pub(crate) fn record_undone() {
    metrics::counter!(UNDONE).increment(1);
}

/// Records one billed minute of each call, as the calls are right after it. First minutes are excluded.
pub(crate) fn record_billed_minutes(calls: &[Call]) {
    metrics::counter!(MINUTES).increment(calls.len() as u64);
    for lateness in calls.iter().filter_map(Call::lateness) {
        metrics::histogram!("minute_lateness_seconds").record(lateness);
    }
}

/// Records calls that the sweeper took over from another replica or request.
pub(crate) fn record_repairs(calls: u64) {
    metrics::counter!(REPAIRS, "reconciler" => SWEEPER).increment(calls);
}

/// Updates the number of live calls from the database.
pub(crate) async fn update_live_gauge(pool: Database) -> anyhow::Result<()> {
    let live = calls::count_live(&mut *pool.acquire().await?).await?;
    metrics::gauge!("calls_live").set(live);
    Ok(())
}
