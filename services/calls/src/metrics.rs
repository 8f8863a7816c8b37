//! Business metrics of the calls service: calls, minutes, and the lateness of minutes.

use futures::FutureExt;
use talktime_kit::db::DatabasePool;

use crate::domain::call::{Call, CallStatus, CallType};
use crate::domain::ending::{RingOutcome, RingOutcomeReason};
use crate::domain::evidence::{MinuteVerdict, RefundReason};
use crate::store::calls;

const STARTED: &str = "calls_started_total";
const ENDED: &str = "calls_ended_total";
const UNDONE: &str = "calls_undone_total";
const RINGS: &str = "calls_rings_total";
const REACH_SECONDS: &str = "ring_reach_seconds";
/// Outcomes of an accepted call of the platform's media.
const CONNECTED: &str = "connected";
const NO_MEDIA: &str = "no_media";
const CANCELLED: &str = "cancelled";
/// Outcome in the metrics of a ring that was accepted.
const ACCEPTED: &str = "accepted";
const MEDIA_CONNECTS: &str = "calls_media_connects_total";
const MINUTES_REFUNDED: &str = "minutes_refunded_total";
const MINUTES: &str = "minutes_billed_total";
const RELAY_AFTER_END: &str = "relay_after_end_total";
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
    let outcomes = RingOutcome::ALL.into_iter().map(RingOutcome::name);
    for outcome in outcomes.chain([ACCEPTED]) {
        metrics::counter!(RINGS, "outcome" => outcome).increment(0);
    }
    for outcome in [CONNECTED, NO_MEDIA, CANCELLED] {
        metrics::counter!(MEDIA_CONNECTS, "outcome" => outcome).increment(0);
    }
    for reason in RefundReason::ALL {
        metrics::counter!(MINUTES_REFUNDED, "reason" => reason.name()).increment(0);
    }
    metrics::counter!(UNDONE).increment(0);
    metrics::counter!(MINUTES).increment(0);
    metrics::counter!(RELAY_AFTER_END).increment(0);
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

/// Records that a device of the listener rings.
pub(crate) fn record_reached(call: &Call) {
    let reached_at = call.reached_at.unwrap_or(call.created_at);
    if let Ok(waited) = (reached_at - call.created_at).to_std() {
        metrics::histogram!(REACH_SECONDS).record(waited);
    }
}

/// Records that a ring was accepted and its first minute is paid.
pub(crate) fn record_accepted() {
    metrics::counter!(RINGS, "outcome" => ACCEPTED).increment(1);
}

/// Records that a ring led to no call.
pub(crate) fn record_unanswered(call: &Call) {
    if let Some(outcome) = call.outcome {
        metrics::counter!(RINGS, "outcome" => outcome.name()).increment(1);
    }
}

/// Records that the platform's media has connected both parties of an accepted call.
pub(crate) fn record_media_connected() {
    metrics::counter!(MEDIA_CONNECTS, "outcome" => CONNECTED).increment(1);
}

/// Records that an accepted call of the platform's media was undone before both parties were connected.
pub(crate) fn record_media_unconnected(call: &Call) {
    let outcome = match call.outcome_reason {
        Some(RingOutcomeReason::NoMedia) => NO_MEDIA,
        _ => CANCELLED,
    };
    metrics::counter!(MEDIA_CONNECTS, "outcome" => outcome).increment(1);
}

/// Records the minutes that a settlement returns for lack of sound.
pub(crate) fn record_refunded_minutes(verdicts: &[MinuteVerdict]) {
    for reason in verdicts.iter().filter_map(|verdict| verdict.refund) {
        metrics::counter!(MINUTES_REFUNDED, "reason" => reason.name()).increment(1);
    }
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

/// Records that the traffic of an allocation has grown although its call ended a while ago.
pub(crate) fn record_relay_after_end() {
    metrics::counter!(RELAY_AFTER_END).increment(1);
}

/// Records calls that the sweeper took over from another replica or request.
pub(crate) fn record_repairs(calls: u64) {
    metrics::counter!(REPAIRS, "reconciler" => SWEEPER).increment(calls);
}

/// Updates the number of live calls from the database.
pub(crate) async fn update_live_gauge(pool: DatabasePool) -> anyhow::Result<()> {
    let live = pool.poll(|db| calls::count_live(db).boxed()).await?;
    metrics::gauge!("calls_live").set(live);
    Ok(())
}
