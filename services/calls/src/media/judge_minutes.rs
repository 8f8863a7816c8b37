//! Decides, with the settlement of a call, which of its minutes had sound.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::db::{DatabasePool, PgConnection};

use super::relay_directory::REPORTED_WITHIN_SECS;
use crate::domain::call::{Call, CallMedia};
use crate::domain::evidence::{
    MinuteEvidence, MinuteReturns, MinuteVerdict, SideMinute, judge_minute,
};
use crate::domain::relay::SeatRole;
use crate::store::media_minutes::{self, KnownMinute};
use crate::store::{minute_verdicts, relay_nodes, seats};

/// Seconds of a minute by whose end a relay must have reported again. If it has not, the platform lost the minute.
const RELAY_SEEN_SECS: i64 = 10;

/// Decides about the first `minutes` minutes of an ended call, and stores the decision. Returns what was not decided
/// before.
pub(crate) async fn judge_minutes(
    tx: &mut PgConnection,
    call: &Call,
    minutes: i32,
) -> sqlx::Result<Vec<MinuteVerdict>> {
    if call.media != CallMedia::Platform {
        return Ok(vec![]);
    }
    let known = media_minutes::list_of_call(tx, call.call_id).await?;
    let relay_gone_since = find_relay_gone_since(tx, call).await?;
    let verdicts = (1..=minutes).map(|minute| {
        let evidence = collect_evidence(call, minute, &known, relay_gone_since);
        judge_minute(minute, &evidence)
    });
    minute_verdicts::insert(tx, call.call_id, &verdicts.collect::<Vec<_>>()).await
}

/// Loads the minutes of a call that go back to the caller. Only calls with the platform's media have any.
pub(crate) async fn load_returns(db: &DatabasePool, call: &Call) -> sqlx::Result<MinuteReturns> {
    if call.media != CallMedia::Platform {
        return Ok(MinuteReturns::default());
    }
    let mut connection = db.acquire().await?;
    let verdicts = minute_verdicts::list_of_call(&mut connection, call.call_id);
    let verdicts: Vec<MinuteVerdict> = verdicts.await?;
    Ok(MinuteReturns::of_verdicts(&verdicts))
}

/// Returns when the relay that carried a side of the call reported last, if it does not report any more.
async fn find_relay_gone_since(
    tx: &mut PgConnection,
    call: &Call,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    let pair = seats::find_present(tx, call.call_id).await?;
    let sides = [pair.caller, pair.listener].into_iter().flatten();
    let realms: Vec<String> = sides.filter_map(|seat| seat.relay_realm).collect();
    relay_nodes::find_silent_since(tx, &realms, REPORTED_WITHIN_SECS).await
}

fn collect_evidence(
    call: &Call,
    minute: i32,
    known: &[KnownMinute],
    relay_gone_since: Option<DateTime<Utc>>,
) -> MinuteEvidence {
    let minute_secs = f64::from(call.minute_secs);
    let talked_secs = call.duration_seconds.unwrap_or_default();
    let before_secs = i64::from(minute - 1) * i64::from(call.minute_secs);
    // The last minute may have ended early.
    let secs = (talked_secs - before_secs).clamp(0, call.minute_secs.into());
    let begins_at = call.end_of_minute(minute - 1);
    let is_relay_lost = begins_at
        .zip(relay_gone_since)
        .is_some_and(|(begins_at, gone_since)| {
            gone_since < begins_at + TimeDelta::seconds(RELAY_SEEN_SECS)
        });
    MinuteEvidence {
        secs: TimeDelta::seconds(secs).as_seconds_f64(),
        minute_secs,
        caller: side_minute(known, minute, SeatRole::Caller),
        listener: side_minute(known, minute, SeatRole::Listener),
        is_relay_lost,
    }
}

fn side_minute(known: &[KnownMinute], minute: i32, role: SeatRole) -> SideMinute {
    let mut known = known.iter();
    let known = known.find(|known| known.minute == minute && known.role == role);
    known.map(|known| known.side).unwrap_or_default()
}
