//! The `data` of messages about the media of a call, in both directions.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_proto::calls::v1::{self as wire, MediaConnection, MediaStatus};
use talktime_proto::datetime;
use utoipa::ToSchema;

use crate::media_join::IceServerData;
pub(super) use crate::media_join::JoinedMessage;
use crate::openapi::media_values;
use crate::signaling::SignalBody;

/// The `data` of `join`.
#[derive(Deserialize, ToSchema)]
pub(super) struct JoinMessage {
    pub(super) call_id: i64,
    /// Whether to take the seat from another device of the user.
    #[serde(default)]
    pub(super) take_over: bool,
}

/// The seat that a message of a client is about.
#[derive(Clone, Copy, Deserialize, ToSchema)]
pub(super) struct SeatRef {
    pub(super) call_id: i64,
    /// The `epoch` of `joined`.
    pub(super) epoch: i32,
}

/// The `data` of `signal` from a client.
#[derive(Deserialize, ToSchema)]
pub(super) struct SignalMessage {
    #[serde(flatten)]
    pub(super) seat: SeatRef,
    #[serde(flatten)]
    pub(super) body: SignalBody,
}

/// The `data` of `signal` to a client.
#[derive(Serialize, ToSchema)]
pub(super) struct PeerSignalMessage {
    pub(super) call_id: i64,
    /// The epoch of the seat that sent it. A client ignores signals of an epoch below the newest it has seen.
    pub(super) from_epoch: i32,
    #[serde(flatten)]
    pub(super) body: SignalBody,
}

/// The `data` of `media` from a client.
#[derive(Deserialize, ToSchema)]
pub(super) struct MediaMessage {
    #[serde(flatten)]
    pub(super) seat: SeatRef,
    #[schema(value_type = media_values::MediaConnection)]
    state: String,
    /// Whether the user has turned their microphone off.
    #[serde(default)]
    muted: bool,
    #[serde(default)]
    #[schema(nullable = false)]
    stats: Option<MediaStatsData>,
}

/// Totals of the client's statistics since its peer connection began.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(default)]
struct MediaStatsData {
    /// The client's clock, in milliseconds.
    at_ms: i64,
    tx_packets: i64,
    rx_packets: i64,
    rx_bytes: i64,
    /// `totalAudioEnergy` of the received sound.
    rx_audio_energy: f64,
    rx_lost: i64,
    /// At present, in milliseconds.
    jitter_ms: i32,
    /// At present, in milliseconds.
    rtt_ms: i32,
    frames_decoded: i64,
    ice_restarts: i32,
}

impl MediaMessage {
    /// Converts the report; `None` if its state has an unknown name.
    pub(super) fn into_request(self, user_id: i64) -> Option<wire::ReportMediaRequest> {
        let connection = match self.state.as_str() {
            "connected" => MediaConnection::Connected,
            "disconnected" => MediaConnection::Disconnected,
            "failed" => MediaConnection::Failed,
            _ => return None,
        };
        Some(wire::ReportMediaRequest {
            call_id: self.seat.call_id,
            user_id,
            epoch: self.seat.epoch,
            connection: connection.into(),
            is_muted: self.muted,
            stats: self.stats.map(MediaStatsData::into_wire),
        })
    }
}

impl MediaStatsData {
    fn into_wire(self) -> wire::MediaStats {
        wire::MediaStats {
            tx_packets: self.tx_packets,
            rx_packets: self.rx_packets,
            rx_bytes: self.rx_bytes,
            rx_audio_energy: self.rx_audio_energy,
            rx_lost: self.rx_lost,
            jitter_ms: self.jitter_ms,
            rtt_ms: self.rtt_ms,
            frames_decoded: self.frames_decoded,
            ice_restarts: self.ice_restarts,
        }
    }
}

/// The `data` of `peer_joined` and `peer_left`.
#[derive(Serialize, ToSchema)]
pub(super) struct PeerSeatMessage {
    pub(super) call_id: i64,
    pub(super) peer_epoch: i32,
}

/// The `data` of `seat_taken`.
#[derive(Serialize, ToSchema)]
pub(super) struct SeatTakenMessage {
    pub(super) call_id: i64,
}

/// The `data` of `media_state`.
#[derive(Serialize, ToSchema)]
pub(super) struct MediaStateMessage {
    call_id: i64,
    #[schema(value_type = media_values::MediaStatus)]
    state: &'static str,
    since: Option<DateTime<Utc>>,
    /// When the call ends unless the media comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ends_at: Option<DateTime<Utc>>,
}

impl MediaStateMessage {
    pub(super) fn new(state: &wire::MediaState) -> Self {
        Self {
            call_id: state.call_id,
            state: match state.status() {
                MediaStatus::Connecting | MediaStatus::Unspecified => "connecting",
                MediaStatus::Connected => "connected",
                MediaStatus::PeerLost => "peer_lost",
                MediaStatus::Lost => "lost",
            },
            since: datetime(state.since.as_ref()),
            ends_at: datetime(state.ends_at.as_ref()),
        }
    }
}

/// Returns the credentials of a refreshed seat.
pub(super) fn ice_servers(servers: Vec<wire::IceServer>) -> Vec<IceServerData> {
    servers.into_iter().map(IceServerData::from).collect()
}
