//! Watches the calls that the platform carries: ends those without sound, and closes the seats of those that are over.

use std::collections::HashSet;

use chrono::TimeDelta;
use futures::FutureExt;

use super::relay_directory::REPORTED_WITHIN_SECS;
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::media_loss::{LossLimits, RelayPresence, evaluate_loss};
use crate::domain::seats::{MediaState, MediaStatus, SeatPair};
use crate::domain::steps::CallEndCause;
use crate::service::CallService;
use crate::store::{relay_nodes, seats};

/// Calls that are looked at together.
const BATCH_CALLS: i64 = 500;
/// An app whose last report is older than this many of its intervals says nothing any more.
const FRESH_INTERVALS: i32 = 3;

/// Numbers of calls that were looked at once.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MediaWatchCounts {
    /// Calls with seats that are not cut yet.
    pub(crate) watched: usize,
    /// Calls that were ended, since their sound was lost.
    pub(crate) ended: usize,
}

impl CallService {
    /// Looks once at every call with seats that are not cut yet.
    pub(crate) async fn watch_media(&self) -> Result<MediaWatchCounts, CallError> {
        let mut counts = MediaWatchCounts::default();
        let mut after = 0;
        loop {
            let calls = self
                .db
                .poll(move |db| seats::list_uncut_calls_after(db, after, BATCH_CALLS).boxed());
            let calls = calls.await?;
            let Some(last) = calls.last() else {
                return Ok(counts);
            };
            after = last.call_id;
            counts.watched += calls.len();
            let (open, over): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(is_open);
            self.close_seats(&over).await?;
            counts.ended += self.end_lost_calls(&open).await?;
        }
    }

    async fn end_lost_calls(&self, calls: &[Call]) -> Result<usize, CallError> {
        let call_ids: Vec<i64> = calls.iter().map(|call| call.call_id).collect();
        let mut connection = self.db.acquire().await?;
        let pairs = seats::list_present(&mut connection, &call_ids).await?;
        let reporting = relay_nodes::list_reporting(&mut connection, REPORTED_WITHIN_SECS).await?;
        drop(connection);
        let reporting: HashSet<String> = reporting.into_iter().map(|node| node.realm).collect();
        let lost = calls.iter().filter_map(|call| {
            let pair = pairs.get(&call.call_id)?;
            let relays = relay_presence(pair, &reporting);
            let cause = evaluate_loss(call, pair, relays, self.loss_limits())?;
            Some((call, cause))
        });
        let lost: Vec<(&Call, CallEndCause)> = lost.collect();
        for (call, cause) in &lost {
            self.publish_lost(call, *cause).await;
        }
        let causes = lost.iter().map(|(call, cause)| (call.call_id, *cause));
        Ok(self.end_for_causes(causes.collect()).await)
    }

    async fn publish_lost(&self, call: &Call, cause: CallEndCause) {
        if let CallEndCause::MediaLost { last_good } = cause {
            let state = MediaState {
                status: MediaStatus::Lost,
                since: last_good,
                ends_at: None,
            };
            self.publish_state(call, state).await;
        }
    }

    fn loss_limits(&self) -> LossLimits {
        let media = &self.terms.media;
        let reported_within = TimeDelta::seconds(media.report_every_secs.into()) * FRESH_INTERVALS;
        LossLimits {
            lost: media.lost,
            reported_within: reported_within.min(media.lost),
        }
    }
}

fn is_open(call: &Call) -> bool {
    matches!(call.phase, CallPhase::Connecting | CallPhase::Active)
}

/// Whether the relays that carry both seats report at present.
fn relay_presence(pair: &SeatPair, reporting: &HashSet<String>) -> RelayPresence {
    let sides = [pair.caller.as_ref(), pair.listener.as_ref()];
    let reports = |realm: Option<&String>| realm.is_some_and(|realm| reporting.contains(realm));
    let realms = sides.map(|seat| seat.and_then(|seat| seat.relay_realm.as_ref()));
    if realms.iter().all(|realm| reports(*realm)) {
        RelayPresence::Reporting
    } else {
        RelayPresence::Away
    }
}
