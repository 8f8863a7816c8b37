//! Sockets (contract, `websocket.md`): who is online and who is busy, as it happens.
//!
//! One [`Hub`] a replica hears the events and writes each message once; a `socket` a client sends
//! what the hub wrote. A client that does not read loses its own socket and slows nobody down.

mod entry;
mod hub;
mod message;
mod socket;

pub use entry::presence;
pub use hub::Hub;
