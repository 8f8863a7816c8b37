//! Converts between the wire and the domain for seats.

use talktime_proto::calls::v1 as wire;
use talktime_proto::timestamp;

use crate::config::MediaTerms;
use crate::domain::CallError;
use crate::domain::relay::SeatRole;
use crate::domain::seats::SeatState;
use crate::media::relay_credentials::IceServer;
use crate::media::{JoinRequest, JoinedSeat, MediaReport, SeatRequest};
use crate::store::seats::{ClientTotals, SeatReport};

/// Largest count that an app may report; no call has as many packets.
const COUNT_MAX: i64 = 1_000_000_000_000;

pub(super) fn parse_join_request(request: wire::JoinCallRequest) -> JoinRequest {
    JoinRequest {
        call_id: request.call_id,
        user_id: request.user_id,
        session_id: request.session_id,
        take_over: request.take_over,
    }
}

pub(super) fn join_response(joined: JoinedSeat, terms: MediaTerms) -> wire::JoinCallResponse {
    let role = match joined.role {
        SeatRole::Caller => wire::CallRole::Caller,
        SeatRole::Listener => wire::CallRole::Listener,
    };
    wire::JoinCallResponse {
        call_id: joined.call_id,
        epoch: joined.epoch,
        role: role.into(),
        peer_user_id: joined.peer_user_id,
        peer_epoch: joined.peer_epoch,
        ice_servers: joined.ice_servers.into_iter().map(ice_server).collect(),
        report_every_secs: terms.report_every_secs,
        connect_deadline: joined.connect_deadline.map(timestamp),
    }
}

pub(super) fn refresh_response(servers: Vec<IceServer>) -> wire::RefreshSeatResponse {
    wire::RefreshSeatResponse {
        ice_servers: servers.into_iter().map(ice_server).collect(),
    }
}

fn ice_server(server: IceServer) -> wire::IceServer {
    wire::IceServer {
        urls: server.urls,
        username: server.username,
        credential: server.credential,
        expires_at: Some(timestamp(server.expires_at)),
    }
}

pub(super) fn parse_refresh_request(request: wire::RefreshSeatRequest) -> SeatRequest {
    SeatRequest {
        call_id: request.call_id,
        user_id: request.user_id,
        epoch: request.epoch,
    }
}

pub(super) fn parse_leave_request(request: wire::LeaveSeatRequest) -> SeatRequest {
    SeatRequest {
        call_id: request.call_id,
        user_id: request.user_id,
        epoch: request.epoch,
    }
}

pub(super) fn parse_media_report(
    request: &wire::ReportMediaRequest,
) -> Result<MediaReport, CallError> {
    let state = match request.connection() {
        wire::MediaConnection::Connected => SeatState::Connected,
        wire::MediaConnection::Disconnected => SeatState::Disconnected,
        wire::MediaConnection::Failed => SeatState::Failed,
        wire::MediaConnection::Unspecified => return Err(CallError::InvalidMediaReport),
    };
    let stats = request.stats.as_ref();
    Ok(MediaReport {
        seat: SeatRequest {
            call_id: request.call_id,
            user_id: request.user_id,
            epoch: request.epoch,
        },
        report: SeatReport {
            state,
            totals: stats.map(parse_totals).transpose()?,
        },
    })
}

fn parse_totals(stats: &wire::MediaStats) -> Result<ClientTotals, CallError> {
    let counts = [stats.tx_packets, stats.rx_packets, stats.rx_lost];
    let are_counts = counts.iter().all(|count| (0..=COUNT_MAX).contains(count));
    let is_energy = stats.rx_audio_energy.is_finite() && stats.rx_audio_energy >= 0.0;
    if !are_counts || !is_energy || stats.rtt_ms < 0 {
        return Err(CallError::InvalidMediaReport);
    }
    Ok(ClientTotals {
        tx_packets: stats.tx_packets,
        rx_packets: stats.rx_packets,
        rx_lost: stats.rx_lost,
        rx_energy: stats.rx_audio_energy,
        rtt_ms: stats.rtt_ms,
    })
}
