//! Sockets (contract, `websocket.md`): what happens on the platform, as it happens.
//!
//! `follow` reads the stream of events in its order; [`Hub`] keeps what was told of late, once for
//! all sockets of this replica: statuses in a log with the newest of each person (`status_log`), what
//! concerns one person alone in another (`letter_log`). A `socket` a client has no queue of its own: it
//! has a place in the log, is woken, and reads on from there. So a client that does not read slows
//! nobody down, a status that was overtaken is never sent, and one who comes back with the place where
//! it stopped reads on, on any replica: places are those of the stream. `entry` says who comes in,
//! `places` how many, `viewer` what each person must not see, `unverified` whom the feed does not
//! show. `description` says what goes over them.

mod channel;
mod description;
mod entry;
mod event_order;
mod follow;
mod hub;
mod letter_log;
mod letters;
mod message;
mod places;
mod reader;
mod snapshot;
mod socket;
mod status_log;
mod unverified;
mod viewer;

pub use description::document;
pub use entry::{Gate, calls, feed, notifications, presence};
pub use hub::Hub;
pub use places::Places;
