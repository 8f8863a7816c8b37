//! Requests about seats, and their outcomes.

use chrono::{DateTime, Utc};

use super::relay_credentials::IceServer;
use crate::domain::relay::SeatRole;
use crate::store::seats::SeatReport;

/// A request of a session to join a call.
#[derive(Clone, Debug)]
pub(crate) struct JoinRequest {
    pub(crate) call_id: i64,
    pub(crate) user_id: i64,
    pub(crate) session_id: String,
    /// Whether to take the seat from another session of the user.
    pub(crate) take_over: bool,
}

/// A request of the session that holds a seat.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SeatRequest {
    pub(crate) call_id: i64,
    pub(crate) user_id: i64,
    pub(crate) epoch: i32,
}

/// A report of the app of a seat about its connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MediaReport {
    pub(crate) seat: SeatRequest,
    pub(crate) report: SeatReport,
}

/// A seat that a session has taken.
#[derive(Clone, Debug)]
pub(crate) struct JoinedSeat {
    pub(crate) call_id: i64,
    pub(crate) epoch: i32,
    pub(crate) role: SeatRole,
    pub(crate) peer_user_id: i64,
    /// Epoch of the other side; `None` while it has no seat.
    pub(crate) peer_epoch: Option<i32>,
    pub(crate) ice_servers: Vec<IceServer>,
    /// Time by which both sides must be connected; `None` once the call is live.
    pub(crate) connect_deadline: Option<DateTime<Utc>>,
}
