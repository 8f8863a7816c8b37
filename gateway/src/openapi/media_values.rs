//! The enumerations of the documents about the media of calls.

use utoipa::ToSchema;

/// The engine that carries a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum MediaEngine {
    /// Relays between the two apps.
    Turn,
}

/// The `iceTransportPolicy` of the app's peer connection.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum IceTransportPolicy {
    /// Only relays, so that neither user learns the other's address.
    Relay,
}

/// The connection of an app, as its `RTCPeerConnection` has it.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum MediaConnection {
    /// Sound arrives.
    Connected,
    /// Nothing arrives at the moment.
    Disconnected,
    /// The connection must be restarted.
    Failed,
}

/// The state of the media of a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum MediaStatus {
    /// Not both parties have been connected yet; nothing is billed.
    Connecting,
    /// Both are connected.
    Connected,
    /// One of the two, or both, hear nothing.
    PeerLost,
    /// The media did not come back, and the call has ended.
    Lost,
}

/// The type of a session description.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum DescriptionType {
    /// An offer.
    Offer,
    /// An answer.
    Answer,
    /// An answer that is not final.
    Pranswer,
    /// Takes an offer back.
    Rollback,
}

/// The sound of a minute at the caller.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum MediaQuality {
    /// The caller heard the listener.
    Good,
    /// The caller heard next to nothing.
    Dead,
    /// Too little is known.
    Unknown,
}
