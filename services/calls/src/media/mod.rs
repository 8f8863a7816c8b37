//! Calls that the platform's media carries: seats of both sides, credentials for relays, and what apps report.

mod await_totals;
mod close_seats;
mod join_call;
pub(crate) mod judge_minutes;
pub(crate) mod relay_credentials;
pub(crate) mod relay_directory;
pub(crate) mod relay_growth;
mod report_media;
pub(crate) mod seat_messages;
mod seat_requests;
mod watch_media;

pub(crate) use report_media::wire_media_state;
pub(crate) use seat_requests::{JoinRequest, JoinedSeat, MediaReport, SeatRequest};
