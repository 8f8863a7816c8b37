//! The messages of seats between gateways.

/// The subject on core NATS of `SeatMessage`s for the sockets of a user. Outside the stream: a message that nobody
/// awaits is lost.
pub fn seat_subject(user_id: i64) -> String {
    format!("live.calls.seat.{user_id}")
}
