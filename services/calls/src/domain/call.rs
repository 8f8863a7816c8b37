//! A call and where its saga stands.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;

use super::badge::Badge;
use super::words::words;

/// How people talk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallType {
    /// Voice.
    Audio,
    /// Voice and picture.
    Video,
}

words!(CallType { Audio => "audio", Video => "video" });

/// How a call stands, for people.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallStatus {
    /// Not ended.
    Ongoing,
    /// Ended by a party.
    Completed,
    /// Ended by a lost connection, or out of coins.
    Dropped,
    /// Ended by a party that did not want it.
    Cancelled,
}

words!(CallStatus {
    Ongoing => "ongoing",
    Completed => "completed",
    Dropped => "dropped",
    Cancelled => "cancelled",
});

/// Where the saga stands, and so what its next step is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallPhase {
    /// Both people are held; the first minute is being charged.
    Reserving,
    /// It came to nothing: the charge is being undone, then the row goes.
    Undoing,
    /// People talk; the next minute is charged when it begins.
    Active,
    /// It has ended and both are free; the books are being closed.
    Settling,
    /// Nothing is left to do.
    Settled,
}

words!(CallPhase {
    Reserving => "reserving",
    Undoing => "undoing",
    Active => "active",
    Settling => "settling",
    Settled => "settled",
});

/// A row of `calls.user_calls`.
#[derive(Clone, Debug, FromRow)]
pub struct Call {
    /// The call.
    pub call_id: i64,
    /// Who called and pays.
    pub user_id: i64,
    /// Who was called and earns.
    pub listener_id: i64,
    /// Audio or video.
    #[sqlx(try_from = "String")]
    pub call_type: CallType,
    /// For people.
    #[sqlx(try_from = "String")]
    pub status: CallStatus,
    /// For the saga.
    #[sqlx(try_from = "String")]
    pub phase: CallPhase,
    /// When the first minute began; none before it was paid.
    pub start_time: Option<DateTime<Utc>>,
    /// Talked time in seconds, once ended.
    pub duration_seconds: Option<i64>,
    /// Begun minutes, once ended.
    pub duration_minutes: Option<i32>,
    /// Coins charged so far.
    pub coins_spent: i64,
    /// What the caller had paid for those coins, in paise; once settled.
    pub user_paise_spent: i64,
    /// The listener's earnings in paise, once settled.
    pub listener_paise_earned: i64,
    /// Price of a minute.
    pub coins_per_minute: i64,
    /// The listener's share of a minute, in paise, by the badge they had when it began.
    pub listener_paise_per_minute: i64,
    /// That badge.
    #[sqlx(try_from = "String")]
    pub listener_badge: Badge,
    /// The version of the prices when it began; none for a call from before they had one.
    pub prices_version: Option<i64>,
    /// Length of a billed minute in seconds.
    pub minute_secs: i32,
    /// Minutes charged.
    pub minutes_billed: i32,
    /// Minutes that the settlement counts, once that is decided.
    pub minutes_settled: Option<i32>,
    /// Whether the call was hung up in a minute that was not charged yet, so that what it comes to is known,
    /// and published, when it is settled.
    pub figures_follow_settlement: bool,
    /// Whether the caller knows that their coins pay for less than two more minutes.
    pub low_balance_told: bool,
    /// Name of the caller when the call began.
    pub caller_username: String,
    /// Name of the listener when the call began.
    pub listener_username: String,
    /// The client's key for the request that started it.
    pub idempotency_key: Option<String>,
    /// Version of the last event.
    pub version: i64,
    /// When this row was read, by the database's clock.
    pub read_at: DateTime<Utc>,
}

impl Call {
    /// Both people.
    pub fn parties(&self) -> [i64; 2] {
        [self.user_id, self.listener_id]
    }

    /// Whether this user is one of the two.
    pub fn has_party(&self, user_id: i64) -> bool {
        self.parties().contains(&user_id)
    }

    /// When the last paid minute ends, which is when the next is due; none before the start.
    pub fn paid_until(&self) -> Option<DateTime<Utc>> {
        self.end_of_minute(self.minutes_billed)
    }

    /// Whether the next minute has begun.
    pub fn is_due(&self) -> bool {
        self.paid_until()
            .is_some_and(|paid_until| paid_until <= self.read_at)
    }

    /// Whether the next minute should have been paid so long ago that nobody can be taken to talk.
    pub fn is_unpaid_beyond(&self, grace: TimeDelta) -> bool {
        self.paid_until()
            .is_some_and(|paid_until| paid_until + grace < self.read_at)
    }

    /// How long ago the next minute began; none unless people talk and it has begun.
    pub fn late_by(&self) -> Option<TimeDelta> {
        let is_due = self.phase == CallPhase::Active && self.is_due();
        let paid_until = self.paid_until().filter(|_| is_due)?;
        Some(self.read_at - paid_until)
    }

    /// How long after its beginning the newest paid minute was paid, when this row was read right
    /// after that; nothing for the first, which is paid before it begins.
    pub fn lateness(&self) -> Option<std::time::Duration> {
        let began_at = self.end_of_minute(self.minutes_billed - 1)?;
        (self.read_at - began_at).to_std().ok()
    }

    /// When the given minute ends; none before the start.
    pub fn end_of_minute(&self, minute: i32) -> Option<DateTime<Utc>> {
        let talked_secs = i64::from(minute) * i64::from(self.minute_secs);
        Some(self.start_time? + TimeDelta::seconds(talked_secs))
    }
}
