//! Decides whether a live call that the platform's media carries ends because no sound arrives any more.
//!
//! Only sound that reaches the caller counts, since the caller pays. The relay knows best; where it is silent itself,
//! both apps must agree.

use chrono::{DateTime, TimeDelta, Utc};

use super::call::{Call, CallMedia, CallPhase};
use super::seats::{Seat, SeatPair};
use super::steps::CallEndCause;

/// Time limits of the media of a call.
#[derive(Clone, Copy, Debug)]
pub struct LossLimits {
    /// Time without sound after which a call ends.
    pub lost: TimeDelta,
    /// Time within which an app reports that it receives packets, if it does.
    pub reported_within: TimeDelta,
}

/// Whether the relays of a call report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RelayPresence {
    /// The relays of both seats report.
    Reporting,
    /// At least one of them does not report, so missing counts prove nothing.
    Away,
}

/// Returns the cause to end a live call without sound, with the last moment at which there was some.
pub fn evaluate_loss(
    call: &Call,
    pair: &SeatPair,
    relays: RelayPresence,
    limits: LossLimits,
) -> Option<CallEndCause> {
    let start = call
        .start_time
        .filter(|_| call.phase == CallPhase::Active && call.media == CallMedia::Platform)?;
    let (caller, listener) = (pair.caller.as_ref()?, pair.listener.as_ref()?);
    let last_good = match (relays, count_by_relay(caller, listener)) {
        (RelayPresence::Reporting, Some(counted)) => {
            counted.last_good(caller, limits, call.read_at)?
        }
        (RelayPresence::Reporting, None) => lost_for_both(caller, listener)
            .or_else(|| lost_without_listener(caller, listener, limits, call.read_at))?,
        (RelayPresence::Away, _) => lost_for_both(caller, listener)?,
    };
    let last_good = last_good.max(start);
    (last_good + limits.lost <= call.read_at).then_some(CallEndCause::MediaLost { last_good })
}

/// When the relay counted last what matters to the caller.
struct CountedFlow {
    /// Packets of the listener that were delivered to the caller.
    to_caller_at: DateTime<Utc>,
    /// Anything at all from the caller's phone.
    from_caller_at: DateTime<Utc>,
}

fn count_by_relay(caller: &Seat, listener: &Seat) -> Option<CountedFlow> {
    Some(CountedFlow {
        to_caller_at: caller.relay_out_grew_at?.min(listener.relay_in_grew_at?),
        from_caller_at: caller.relay_in_grew_at?,
    })
}

impl CountedFlow {
    /// Returns the last moment at which sound reached the caller while they were present; `None` while the caller's app
    /// says that packets arrive, since the relay reports only every some seconds.
    fn last_good(
        &self,
        caller: &Seat,
        limits: LossLimits,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let received_at = caller.rx_grew_at;
        let is_receiving = received_at.is_some_and(|at| at + limits.reported_within > now);
        if is_receiving && caller.is_connected() {
            return None;
        }
        let heard_at = received_at.map_or(self.to_caller_at, |at| at.max(self.to_caller_at));
        let reported_at = caller.reported_at;
        let there_at = reported_at.map_or(self.from_caller_at, |at| at.max(self.from_caller_at));
        Some(heard_at.min(there_at))
    }
}

/// Returns since when the caller's app says that nothing arrives, if the listener's app has said nothing at all for the
/// same time, as that of a device which died soon after the start. A relay that reports would have counted sound by then.
fn lost_without_listener(
    caller: &Seat,
    listener: &Seat,
    limits: LossLimits,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let is_silent = listener
        .reported_at
        .is_none_or(|at| at + limits.lost <= now);
    caller.lost_since().filter(|_| is_silent)
}

/// Returns since when both apps say that nothing arrives.
fn lost_for_both(caller: &Seat, listener: &Seat) -> Option<DateTime<Utc>> {
    let (caller, listener) = (caller.lost_since()?, listener.lost_since()?);
    Some(caller.max(listener))
}
