//! Sockets (contract, `websocket.md`): clients receive what happens on the platform as it happens.
//!
//! [`EventStreamFollower`] reads the stream of events in order and passes each event to [`SocketHub`]. The recent
//! messages are stored once for all sockets of this replica (`stream_state`): the newest status of each user in
//! one log (`status_log`), messages to single users in another (`user_message_log`).
//!
//! A socket has no queue of its own. It has a position in the log, is woken (`wake_round`), and reads from there
//! (`reader`). So a slow client delays nobody, and a status that was replaced is never sent. A client that connects again
//! names the last message it has and continues from there on any replica, because positions are those of the stream.
//!
//! A socket of `/ws/calls` may have a seat in a call that the platform carries (`media_seat`, `session_media`), through
//! which the two apps exchange signals.
//!
//! `service` admits clients by their tokens or `tickets`, `refusal_limit` and `connection_slots` limit them, and `session` talks to each one. `viewer`
//! knows which users are hidden from a client, and `unverified` which ones the feed does not show. `asyncapi`
//! describes the messages.

mod asyncapi;
mod channel;
mod client_message;
mod close;
mod connection;
mod connection_slots;
mod context;
mod event_follower;
mod event_order;
mod feed_removal;
mod guards;
mod hub;
mod media_failures;
mod media_messages;
mod media_seat;
mod message;
mod reader;
mod refusal_limit;
mod ring_acknowledgement;
mod ring_message_data;
mod ring_messages;
mod sequence;
mod service;
mod session;
mod session_media;
mod snapshot;
mod status_log;
mod status_messages;
mod stream_state;
mod tickets;
mod unverified;
mod upgrade_request;
mod user_message_data;
mod user_message_log;
mod user_messages;
mod viewer;
mod viewer_registry;
mod wake_round;

pub use asyncapi::document;
pub use connection_slots::SocketConnectionSlots;
pub use event_follower::EventStreamFollower;
pub use hub::SocketHub;
pub use service::{SocketService, calls, feed, notifications, presence};
pub use tickets::{SocketTickets, TICKET_LIFETIME_SECS};
