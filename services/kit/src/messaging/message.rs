//! Events as JetStream delivers them.

use bytes::Bytes;

/// An event as it was delivered.
#[derive(Clone, Debug)]
pub struct DeliveredMessage {
    /// The id of the event, the same in all its deliveries.
    pub id: String,
    /// `events.<context>.<name>`.
    pub subject: String,
    /// An encoded [`Event`].
    pub payload: Bytes,
    /// The trace that the event belongs to.
    pub traceparent: Option<String>,
}
