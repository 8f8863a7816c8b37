//! The subjects of orders to relays.

/// Core NATS: `RelayCut`, for the agent beside the relay of this realm.
pub fn relay_cut_subject(realm: &str) -> String {
    format!("relay.cut.{realm}")
}
