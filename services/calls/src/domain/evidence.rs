//! Judges the sound of each minute by the reports about it, and decides which minutes are given back to the caller.
//!
//! The relay is believed first, since neither party can influence it: it counts what each app sends and what it
//! delivers to each app. Where it has not reported, the apps are believed as far as both say the same.

use sqlx::FromRow;
use talktime_kit::text_enum;

use super::decode::decode_text;

/// Packets of sound a second.
const PACKETS_A_SECOND: f64 = 50.0;
/// Share of these from which on a minute is good.
const GOOD_SHARE: f64 = 0.5;
/// Share of these below which a minute is dead: about nine seconds of sixty.
const DEAD_SHARE: f64 = 0.15;
/// Share of a minute that must be reported before its silence counts.
const COVERED_SHARE: f64 = 0.8;
/// Shortest part of a minute that is judged, relative to a whole one.
const PART_MIN: f64 = 1.0 / 6.0;

/// Sound of a minute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MediaQuality {
    Good,
    /// Almost no sound arrived.
    Dead,
    /// Too little is known, or the reports contradict each other.
    Unknown,
}

text_enum!(MediaQuality {
    Good => "good",
    Dead => "dead",
    Unknown => "unknown",
});
decode_text!(MediaQuality);

/// Why a minute is given back to the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RefundReason {
    /// The listener's device sent nothing; the listener does not earn the minute.
    ListenerSilent,
    /// A relay of the platform lost the minute; the listener earns it, and the platform bears it.
    RelayLost,
}

text_enum!(RefundReason {
    ListenerSilent => "listener_silent",
    RelayLost => "relay_lost",
});
decode_text!(RefundReason);

/// The reports about one side in one minute.
#[derive(Clone, Copy, Debug, Default, FromRow, PartialEq)]
pub struct SideMinute {
    /// Packets from the app to the relay; `None` if the relay reported nothing of the side in this minute.
    pub relay_in_packets: Option<i64>,
    /// Packets from the relay to the app.
    pub relay_out_packets: Option<i64>,
    /// Seconds of the minute that the relay has reported.
    pub relay_secs: f64,
    /// Packets that the app says it has sent and received.
    pub client_tx_packets: i64,
    pub client_rx_packets: i64,
    /// Seconds of the minute that the app has reported.
    pub client_secs: f64,
}

/// The reports about a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MinuteEvidence {
    /// Length of the minute in seconds, up to the end of the call.
    pub secs: f64,
    /// Length of a whole minute in seconds.
    pub minute_secs: f64,
    pub caller: SideMinute,
    pub listener: SideMinute,
    /// Whether a relay of the call did not live through the minute.
    pub is_relay_lost: bool,
}

/// The decision about a minute.
#[derive(Clone, Copy, Debug, Eq, FromRow, PartialEq)]
pub struct MinuteVerdict {
    /// From 1.
    pub minute: i32,
    /// Sound of the listener at the caller, who pays.
    pub to_caller: MediaQuality,
    /// Sound of the caller at the listener.
    pub to_listener: MediaQuality,
    pub refund: Option<RefundReason>,
}

/// Decides about a minute of a call that has ended.
pub fn judge_minute(minute: i32, evidence: &MinuteEvidence) -> MinuteVerdict {
    let MinuteEvidence {
        caller, listener, ..
    } = evidence;
    let to_caller = judge_direction(evidence, listener, caller);
    let refund = (to_caller == MediaQuality::Dead).then_some(if evidence.is_relay_lost {
        RefundReason::RelayLost
    } else {
        RefundReason::ListenerSilent
    });
    MinuteVerdict {
        minute,
        to_caller,
        to_listener: judge_direction(evidence, caller, listener),
        refund,
    }
}

/// Minutes of a call that go back to the caller.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MinuteReturns {
    /// Minutes whose coins the caller gets back, in ascending order.
    pub returned: Vec<i32>,
    /// The returned minutes that the listener does not earn either.
    pub unearned: Vec<i32>,
}

impl MinuteReturns {
    /// Collects the returned ones of these minutes.
    pub fn of_verdicts(verdicts: &[MinuteVerdict]) -> Self {
        let minutes = |is_wanted: fn(RefundReason) -> bool| {
            let refunded = verdicts
                .iter()
                .filter(|verdict| verdict.refund.is_some_and(is_wanted));
            let mut minutes: Vec<i32> = refunded.map(|verdict| verdict.minute).collect();
            minutes.sort_unstable();
            minutes
        };
        Self {
            returned: minutes(|_| true),
            unearned: minutes(|reason| reason == RefundReason::ListenerSilent),
        }
    }
}

/// Judges the sound of one side at the other.
fn judge_direction(
    evidence: &MinuteEvidence,
    sender: &SideMinute,
    receiver: &SideMinute,
) -> MediaQuality {
    if evidence.secs < PART_MIN * evidence.minute_secs {
        return MediaQuality::Unknown;
    }
    let by_relay = judge_by_relay(evidence.secs, sender, receiver);
    by_relay.unwrap_or_else(|| judge_by_clients(evidence.secs, sender, receiver))
}

/// Judges by the relay: what the sender's app sent must have been delivered. Silence is that of the sender; a receiver
/// that is away does not make the minute dead.
fn judge_by_relay(secs: f64, sender: &SideMinute, receiver: &SideMinute) -> Option<MediaQuality> {
    let sent = share(sender.relay_in_packets?, secs);
    let delivered = receiver
        .relay_out_packets
        .map(|packets| share(packets, secs));
    if sent >= GOOD_SHARE && delivered.is_some_and(|delivered| delivered >= GOOD_SHARE) {
        return Some(MediaQuality::Good);
    }
    let is_covered = sender.relay_secs >= COVERED_SHARE * secs;
    (is_covered && sent < DEAD_SHARE).then_some(MediaQuality::Dead)
}

/// Judges by the apps, as far as both say the same about the whole minute.
fn judge_by_clients(secs: f64, sender: &SideMinute, receiver: &SideMinute) -> MediaQuality {
    let is_covered = |side: &SideMinute| side.client_secs >= COVERED_SHARE * secs;
    if !is_covered(sender) || !is_covered(receiver) {
        return MediaQuality::Unknown;
    }
    let sent = share(sender.client_tx_packets, secs);
    let received = share(receiver.client_rx_packets, secs);
    if sent >= GOOD_SHARE && received >= GOOD_SHARE {
        MediaQuality::Good
    } else if sent < DEAD_SHARE && received < DEAD_SHARE {
        MediaQuality::Dead
    } else {
        MediaQuality::Unknown
    }
}

/// Packets relative to those of sound without a gap.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of packets are far below 2^52"
)]
fn share(packets: i64, secs: f64) -> f64 {
    packets as f64 / (PACKETS_A_SECOND * secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute that the relay and both apps have reported completely, with these packets a second in each direction.
    fn minute(to_caller: i64, to_listener: i64) -> MinuteEvidence {
        let side_minute = |sent: i64, received: i64| SideMinute {
            relay_in_packets: Some(sent * 60),
            relay_out_packets: Some(received * 60),
            relay_secs: 60.0,
            client_tx_packets: sent * 60,
            client_rx_packets: received * 60,
            client_secs: 60.0,
        };
        MinuteEvidence {
            secs: 60.0,
            minute_secs: 60.0,
            caller: side_minute(to_listener, to_caller),
            listener: side_minute(to_caller, to_listener),
            is_relay_lost: false,
        }
    }

    fn without_relay(evidence: MinuteEvidence) -> MinuteEvidence {
        let forget = |side: SideMinute| SideMinute {
            relay_in_packets: None,
            relay_out_packets: None,
            relay_secs: 0.0,
            ..side
        };
        MinuteEvidence {
            caller: forget(evidence.caller),
            listener: forget(evidence.listener),
            ..evidence
        }
    }

    fn judge(evidence: &MinuteEvidence) -> (MediaQuality, Option<RefundReason>) {
        let verdict = judge_minute(1, evidence);
        (verdict.to_caller, verdict.refund)
    }

    const SILENT: (MediaQuality, Option<RefundReason>) =
        (MediaQuality::Dead, Some(RefundReason::ListenerSilent));
    const UNKNOWN: (MediaQuality, Option<RefundReason>) = (MediaQuality::Unknown, None);
    const GOOD: (MediaQuality, Option<RefundReason>) = (MediaQuality::Good, None);

    #[test]
    fn a_minute_is_good_from_half_of_its_packets_on() {
        assert_eq!(judge(&minute(50, 50)), GOOD);
        assert_eq!(judge(&minute(25, 0)), GOOD);
        assert_eq!(judge(&minute(24, 50)), UNKNOWN);
    }

    #[test]
    fn a_silent_listener_does_not_earn_the_minute() {
        assert_eq!(judge(&minute(7, 50)), SILENT);
        assert_eq!(judge(&minute(8, 50)), UNKNOWN);
        assert_eq!(judge(&minute(0, 0)), SILENT);
    }

    #[test]
    fn a_minute_whose_relay_died_is_borne_by_the_platform() {
        let lost = MinuteEvidence {
            is_relay_lost: true,
            ..without_relay(minute(0, 0))
        };
        let expected = (MediaQuality::Dead, Some(RefundReason::RelayLost));
        assert_eq!(judge(&lost), expected);
        // The calls of a dead relay that went on elsewhere have sound.
        let moved = MinuteEvidence {
            is_relay_lost: true,
            ..minute(40, 40)
        };
        assert_eq!(judge(&moved), GOOD);
    }

    #[test]
    fn a_caller_who_does_not_listen_pays() {
        let mut away = minute(50, 0);
        away.caller.relay_out_packets = Some(0);
        away.caller.client_rx_packets = 0;
        assert_eq!(judge(&away), UNKNOWN);
    }

    #[test]
    fn silence_counts_only_where_it_was_reported() {
        let mut uncovered = minute(0, 50);
        uncovered.listener.relay_secs = 40.0;
        uncovered.listener.client_secs = 40.0;
        assert_eq!(judge(&uncovered), UNKNOWN);
        let mut short = minute(0, 50);
        short.secs = 9.0;
        assert_eq!(judge(&short), UNKNOWN);
    }

    #[test]
    fn without_the_relay_both_apps_must_agree() {
        assert_eq!(judge(&without_relay(minute(50, 50))), GOOD);
        assert_eq!(judge(&without_relay(minute(0, 50))), SILENT);
        let mut contradicted = without_relay(minute(0, 50));
        contradicted.listener.client_tx_packets = 3_000;
        assert_eq!(judge(&contradicted), UNKNOWN);
        let mut claimed = without_relay(minute(50, 50));
        claimed.caller.client_rx_packets = 0;
        assert_eq!(judge(&claimed), UNKNOWN);
    }

    #[test]
    fn the_relay_is_believed_over_both_apps() {
        let mut claimed = minute(50, 50);
        claimed.caller.client_rx_packets = 0;
        claimed.listener.client_tx_packets = 0;
        assert_eq!(judge(&claimed), GOOD);
    }

    #[test]
    fn only_the_sound_at_the_caller_is_refunded() {
        let verdict = judge_minute(3, &minute(50, 0));
        assert_eq!(verdict.minute, 3);
        assert_eq!(
            (verdict.to_caller, verdict.to_listener, verdict.refund),
            (MediaQuality::Good, MediaQuality::Dead, None)
        );
    }
}
