//! A call and the phase of its saga.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use talktime_kit::text_enum;

use super::badge::Badge;
pub use super::call_type::CallType;
use super::ending::{CallEndReason, EndingParty, RingOutcome, RingOutcomeReason};

/// Status of a call as users see it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallStatus {
    /// The listener's devices ring; nothing is paid.
    Ringing,
    /// Accepted, but not live yet.
    Connecting,
    Ongoing,
    /// Ended by a party.
    Completed,
    /// Ended by a lost connection, or because the caller was out of coins.
    Dropped,
    /// Taken back by a party.
    Cancelled,
    /// The ring led to no call.
    Unanswered,
}

text_enum!(CallStatus {
    Ringing => "ringing",
    Connecting => "connecting",
    Ongoing => "ongoing",
    Completed => "completed",
    Dropped => "dropped",
    Cancelled => "cancelled",
    Unanswered => "unanswered",
});

/// The carrier of the sound and picture of a call.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CallMedia {
    /// The apps, by means of their own.
    #[default]
    Own,
    /// The media engine of the platform.
    Platform,
}

text_enum!(CallMedia {
    Own => "own",
    Platform => "platform",
});

/// Phase of the saga, which determines its next step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallPhase {
    /// Both parties are busy and the listener's devices ring; nothing is charged.
    Ringing,
    /// Both parties are busy and the first minute is being charged.
    Reserving,
    /// The first minute is paid, but the platform's media does not connect both parties yet.
    Connecting,
    /// The start failed: the charge is voided, then the row is deleted, or `unanswered` if it was a ring.
    Undoing,
    /// The parties talk; each minute is charged when it begins.
    Active,
    /// The call has ended and its parties are free; the settlement is under way.
    Settling,
    /// The call is settled; no step is left.
    Settled,
    /// The ring led to no call; no step is left.
    Unanswered,
}

text_enum!(CallPhase {
    Ringing => "ringing",
    Reserving => "reserving",
    Connecting => "connecting",
    Undoing => "undoing",
    Active => "active",
    Settling => "settling",
    Settled => "settled",
    Unanswered => "unanswered",
});

/// A row of `calls.user_calls`.
#[derive(Clone, Debug, FromRow)]
pub struct Call {
    pub call_id: i64,
    /// The caller, who pays.
    pub user_id: i64,
    /// The listener, who earns.
    pub listener_id: i64,
    #[sqlx(try_from = "String")]
    pub call_type: CallType,
    #[sqlx(try_from = "String")]
    pub status: CallStatus,
    #[sqlx(try_from = "String")]
    pub phase: CallPhase,
    /// Start of the first minute; `None` before it is paid.
    pub start_time: Option<DateTime<Utc>>,
    /// Talk time in seconds, once ended.
    pub duration_seconds: Option<i64>,
    /// Minutes that had begun, once ended.
    pub duration_minutes: Option<i32>,
    /// Coins charged so far.
    pub coins_spent: i64,
    /// Price that the caller paid for these coins in paise, once settled.
    pub user_paise_spent: i64,
    /// Earnings of the listener in paise, once settled.
    pub listener_paise_earned: i64,
    pub coins_per_minute: i64,
    /// Earnings of the listener per minute in paise, by their badge at the start.
    pub listener_paise_per_minute: i64,
    /// Badge of the listener at the start.
    #[sqlx(try_from = "String")]
    pub listener_badge: Badge,
    /// Version of the prices at the start; `None` for calls that precede versioned prices.
    pub prices_version: Option<i64>,
    /// Length of a billed minute in seconds.
    pub minute_secs: i32,
    pub minutes_billed: i32,
    /// Minutes that the settlement counts, once decided.
    pub minutes_settled: Option<i32>,
    /// Whether the figures of an ended call are certain, and published, only with its settlement: it ended in a minute
    /// that was not charged yet, its minutes are judged by their sound, or given coins have paid a part of it.
    pub figures_follow_settlement: bool,
    /// Whether an event has announced that the coins of the caller pay for less than two more minutes.
    pub low_balance_told: bool,
    /// Whether coins that were given to the caller have paid a part of the recorded minutes.
    pub has_bonus: bool,
    /// Name of the caller at the start.
    pub caller_username: String,
    /// Name of the listener at the start.
    pub listener_username: String,
    /// Idempotency key of the request that started the call.
    pub idempotency_key: Option<String>,
    #[sqlx(try_from = "String")]
    pub media: CallMedia,
    /// Time at which the ring ends by itself; `None` for a call that began at once.
    pub ring_expires_at: Option<DateTime<Utc>>,
    /// Time at which a device of the listener began to ring.
    pub reached_at: Option<DateTime<Utc>>,
    pub accepted_at: Option<DateTime<Utc>>,
    /// Session of the listener that accepted the call.
    pub accepted_session: Option<String>,
    /// Duration in minutes that the caller of a ring intends.
    pub estimated_minutes: Option<i32>,
    /// Outcome of a ring that led to no call.
    pub outcome: Option<RingOutcome>,
    pub outcome_reason: Option<RingOutcomeReason>,
    /// Why a live call ended.
    pub end_reason: Option<CallEndReason>,
    /// The party that ended the call or the ring.
    pub ended_by: Option<EndingParty>,
    /// The party of a live call that has blocked the other. The call ends with its paid minute.
    pub blocked_by: Option<EndingParty>,
    pub created_at: DateTime<Utc>,
    /// Version of the last event of this call.
    pub version: i64,
    /// Time at which the row was read, by the clock of the database.
    pub read_at: DateTime<Utc>,
}

/// Caller and listener of a call that may begin, or ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PlannedParties {
    pub caller_id: i64,
    pub listener_id: i64,
}

impl PlannedParties {
    /// Returns the parties of an existing call, which may be checked again.
    pub fn of(call: &Call) -> Self {
        Self {
            caller_id: call.user_id,
            listener_id: call.listener_id,
        }
    }
}

impl Call {
    /// Ids of caller and listener.
    pub fn parties(&self) -> [i64; 2] {
        [self.user_id, self.listener_id]
    }

    /// Whether the call rang, or rings, before it begins.
    pub fn is_ring(&self) -> bool {
        self.ring_expires_at.is_some()
    }

    /// Seconds for which the call rang, for a row that was read when the ring ended.
    pub fn rung_seconds(&self) -> i64 {
        let rang_until = self.accepted_at.unwrap_or(self.read_at);
        (rang_until - self.created_at).num_seconds().max(0)
    }

    /// The party that the user is, if any.
    pub fn party_of(&self, user_id: i64) -> Option<EndingParty> {
        match user_id {
            id if id == self.user_id => Some(EndingParty::Caller),
            id if id == self.listener_id => Some(EndingParty::Listener),
            _ => None,
        }
    }

    /// Whether the user is the caller or the listener.
    pub fn has_party(&self, user_id: i64) -> bool {
        self.parties().contains(&user_id)
    }

    /// End of the last paid minute, when the next one is due; `None` before the start.
    pub fn paid_until(&self) -> Option<DateTime<Utc>> {
        self.end_of_minute(self.minutes_billed)
    }

    /// Whether the next minute has begun and is to be charged.
    pub fn is_due(&self) -> bool {
        self.paid_until()
            .is_some_and(|paid_until| paid_until <= self.read_at)
    }

    /// Whether the next minute has been unpaid for longer than `grace`, so that the call must be regarded
    /// as ended.
    pub fn is_unpaid_beyond(&self, grace: TimeDelta) -> bool {
        self.paid_until()
            .is_some_and(|paid_until| paid_until + grace < self.read_at)
    }

    /// Time since the next minute began, if the call is live and that minute has begun.
    pub fn late_by(&self) -> Option<TimeDelta> {
        let is_due = self.phase == CallPhase::Active && self.is_due();
        let paid_until = self.paid_until().filter(|_| is_due)?;
        Some(self.read_at - paid_until)
    }

    /// Time between the beginning of the newest paid minute and its payment, for a row that was read right
    /// after the payment. `None` for the first minute, which is paid before it begins.
    pub fn lateness(&self) -> Option<std::time::Duration> {
        let began_at = self.end_of_minute(self.minutes_billed - 1)?;
        (self.read_at - began_at).to_std().ok()
    }

    /// Returns the call as if the row had been read earlier, but not before the start.
    #[must_use]
    pub fn view_earlier(&self, by: TimeDelta) -> Self {
        let read_at = self.read_at - by;
        Self {
            read_at: self.start_time.map_or(read_at, |start| start.max(read_at)),
            ..self.clone()
        }
    }

    /// End of the given minute; `None` before the start.
    pub fn end_of_minute(&self, minute: i32) -> Option<DateTime<Utc>> {
        let talked_secs = i64::from(minute) * i64::from(self.minute_secs);
        Some(self.start_time? + TimeDelta::seconds(talked_secs))
    }
}
