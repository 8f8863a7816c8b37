//! Every decision about the seats of a call that the platform's media carries.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::FromRow;
use talktime_kit::text_enum;

use super::CallError;
use super::call::{Call, CallMedia, CallPhase};
use super::decode::decode_text;
use super::relay::SeatRole;

decode_text!(SeatRole);

/// Connection of a seat, as its app reported it last.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SeatState {
    /// The session has joined and reported nothing yet.
    Joined,
    Connected,
    /// Packets do not arrive at the moment; the app waits, or restarts ICE.
    Disconnected,
    /// The app has given the connection up.
    Failed,
}

text_enum!(SeatState {
    Joined => "joined",
    Connected => "connected",
    Disconnected => "disconnected",
    Failed => "failed",
});
decode_text!(SeatState);

/// A row of `calls.seats`: one side of a call on one session.
#[derive(Clone, Debug, FromRow)]
pub struct Seat {
    pub call_id: i64,
    pub role: SeatRole,
    /// Grows with each join of the side.
    pub epoch: i32,
    pub session_id: String,
    pub state: SeatState,
    pub state_since: DateTime<Utc>,
    /// Time at which the side was connected first.
    pub connected_at: Option<DateTime<Utc>>,
    pub left_at: Option<DateTime<Utc>>,
    /// Time of the last report with totals, which the next one is counted from.
    pub reported_at: Option<DateTime<Utc>>,
    pub tx_packets: i64,
    pub rx_packets: i64,
    pub rx_lost: i64,
    pub rx_energy: f64,
    /// Time at which the received packets grew last.
    pub rx_grew_at: Option<DateTime<Utc>>,
    /// Time at which the relay last counted more packets from the app.
    pub relay_in_grew_at: Option<DateTime<Utc>>,
    /// Time at which the relay last counted more packets to the app.
    pub relay_out_grew_at: Option<DateTime<Utc>>,
    /// The relay that counted them; before that, one that has reported an allocation of the seat.
    pub relay_realm: Option<String>,
}

impl Seat {
    /// Whether the side is connected, as far as its app says.
    pub fn is_connected(&self) -> bool {
        self.left_at.is_none() && self.state == SeatState::Connected
    }

    /// Time since which the app says that nothing arrives; `None` while it says otherwise or nothing.
    pub fn lost_since(&self) -> Option<DateTime<Utc>> {
        match self.state {
            _ if self.left_at.is_some() => self.left_at,
            SeatState::Disconnected | SeatState::Failed => Some(self.state_since),
            SeatState::Joined | SeatState::Connected => None,
        }
    }
}

/// The present seats of a call: of each side the one with the greatest epoch.
#[derive(Clone, Debug, Default)]
pub struct SeatPair {
    pub caller: Option<Seat>,
    pub listener: Option<Seat>,
}

impl SeatPair {
    /// The seat of a side, if it has ever joined.
    pub fn seat(&self, role: SeatRole) -> Option<&Seat> {
        match role {
            SeatRole::Caller => self.caller.as_ref(),
            SeatRole::Listener => self.listener.as_ref(),
        }
    }

    /// Returns the seats with a changed one.
    #[must_use]
    pub fn with_seat(self, seat: Seat) -> Self {
        match seat.role {
            SeatRole::Caller => Self {
                caller: Some(seat),
                ..self
            },
            SeatRole::Listener => Self {
                listener: Some(seat),
                ..self
            },
        }
    }

    /// Whether both apps say that they are connected.
    pub fn are_connected(&self) -> bool {
        let is_connected = |seat: &Option<Seat>| seat.as_ref().is_some_and(Seat::is_connected);
        is_connected(&self.caller) && is_connected(&self.listener)
    }

    /// Epoch of a side that holds its seat.
    pub fn held_epoch(&self, role: SeatRole) -> Option<i32> {
        let held = self.seat(role).filter(|seat| seat.left_at.is_none());
        held.map(|seat| seat.epoch)
    }
}

impl SeatRole {
    /// The other side.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Listener,
            Self::Listener => Self::Caller,
        }
    }

    /// The user on this side of a call.
    pub fn user_id(self, call: &Call) -> i64 {
        match self {
            Self::Caller => call.user_id,
            Self::Listener => call.listener_id,
        }
    }

    /// The side of a call that a user is on, if any.
    pub fn of_user(call: &Call, user_id: i64) -> Option<Self> {
        [Self::Caller, Self::Listener]
            .into_iter()
            .find(|role| role.user_id(call) == user_id)
    }
}

/// Returns the side of a user at a call whose seats may be taken now.
///
/// # Errors
///
/// [`CallError::NotAParty`], [`CallError::MediaNotPlatform`] if the apps carry the call themselves,
/// [`CallError::NotInCall`] if it is not accepted yet, or over.
pub fn require_role(call: &Call, user_id: i64) -> Result<SeatRole, CallError> {
    let role = SeatRole::of_user(call, user_id).ok_or(CallError::NotAParty)?;
    if call.media != CallMedia::Platform {
        return Err(CallError::MediaNotPlatform);
    }
    match call.phase {
        CallPhase::Connecting | CallPhase::Active => Ok(role),
        _ => Err(CallError::NotInCall),
    }
}

/// Decides whether a session takes the seat of its side, and returns the epoch that it gets. The session that
/// accepted the call comes before other ones of the listener.
pub fn evaluate_join(
    call: &Call,
    role: SeatRole,
    session_id: &str,
    take_over: bool,
    present: Option<&Seat>,
) -> Result<i32, CallError> {
    let holder = match present {
        Some(seat) if seat.left_at.is_none() => Some(seat.session_id.as_str()),
        None if role == SeatRole::Listener => call.accepted_session.as_deref(),
        Some(_) | None => None,
    };
    if !take_over && holder.is_some_and(|holder| holder != session_id) {
        return Err(CallError::SeatTaken);
    }
    Ok(present.map_or(1, |seat| seat.epoch + 1))
}

/// Returns the seat with this epoch if it is the present one of its side.
pub fn require_seat(pair: &SeatPair, role: SeatRole, epoch: i32) -> Result<&Seat, CallError> {
    match pair.seat(role) {
        Some(seat) if seat.epoch == epoch && seat.left_at.is_none() => Ok(seat),
        _ => Err(CallError::StaleEpoch),
    }
}

/// State of the media of a call, as it is sent to both parties.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MediaStatus {
    /// Not both sides have been connected yet; the meter does not run.
    Connecting,
    Connected,
    /// Sound is interrupted on one side or both.
    PeerLost,
    /// The call has ended since the media did not come back.
    Lost,
}

/// State of the media of a call, and since when.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MediaState {
    pub status: MediaStatus,
    pub since: DateTime<Utc>,
    /// Time at which the call will end unless the media comes back; `None` if nothing will end it.
    pub ends_at: Option<DateTime<Utc>>,
}

/// Derives the state of the media from what both apps say. A call ends when both say that it is interrupted.
pub fn derive_state(call: &Call, pair: &SeatPair, lost: TimeDelta) -> MediaState {
    let sides = [pair.caller.as_ref(), pair.listener.as_ref()];
    if call.start_time.is_none() {
        return MediaState {
            status: MediaStatus::Connecting,
            since: call.accepted_at.unwrap_or(call.created_at),
            ends_at: None,
        };
    }
    let lost_since = sides.map(|seat| seat.and_then(Seat::lost_since));
    if let Some(since) = lost_since.iter().flatten().min() {
        let both_since = lost_since[0].zip(lost_since[1]);
        return MediaState {
            status: MediaStatus::PeerLost,
            since: *since,
            ends_at: both_since.map(|(caller, listener)| caller.max(listener) + lost),
        };
    }
    let since = sides
        .into_iter()
        .flatten()
        .map(|seat| seat.state_since)
        .max();
    MediaState {
        status: MediaStatus::Connected,
        since: since.or(call.start_time).unwrap_or(call.created_at),
        ends_at: None,
    }
}
