//! Records what apps report of their connections, and turns a call live once both sides are connected.

use talktime_proto::calls::v1 as wire;
use talktime_proto::calls::v1::seat_message::Kind;
use talktime_proto::timestamp;

use super::MediaReport;
use super::join_call::{PresentSeat, load_present_seat};
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::minute_shares::split_by_minute;
use crate::domain::seats::{MediaState, MediaStatus, Seat, SeatPair, derive_state};
use crate::service::CallService;
use crate::store::seats::ClientTotals;
use crate::store::{calls, media_minutes, seats};

impl CallService {
    /// Records the report of a seat, and turns the call live once both sides are connected. Returns the state of
    /// the media.
    ///
    /// # Errors
    ///
    /// As [`CallService::refresh_seat`]; otherwise the failure of a step of the start, which the next report takes
    /// again.
    pub(crate) async fn report_media(&self, report: MediaReport) -> Result<MediaState, CallError> {
        let mut tx = self.db.begin().await?;
        calls::lock_media_reports(&mut tx, report.seat.call_id).await?;
        let present = load_present_seat(&mut tx, report.seat).await?;
        let PresentSeat {
            call,
            pair: before,
            seat,
        } = present;
        let reported = seats::record_report(&mut tx, &seat, report.report).await?;
        let reported = reported.ok_or(CallError::StaleEpoch)?;
        if let (Some(totals), Some(start)) = (report.report.totals, call.start_time) {
            let since = seat.reported_at.unwrap_or(start);
            let until = reported.reported_at.unwrap_or(call.read_at);
            let shares = split_by_minute((since, until), start, call.minute_secs);
            let growth = growth_since(&seat, totals);
            media_minutes::add_client_report(&mut tx, &seat, growth, &shares).await?;
        }
        tx.commit().await?;
        let after = before.clone().with_seat(reported);
        let live = if call.phase == CallPhase::Connecting && after.are_connected() {
            self.connect_call(call.call_id, None).await?
        } else {
            call.clone()
        };
        let lost = self.terms.media.lost;
        let old = derive_state(&call, &before, lost);
        let state = derive_state(&live, &after, lost);
        if (state.status, state.ends_at) != (old.status, old.ends_at) {
            self.publish_state(&live, state).await;
        }
        Ok(state)
    }

    /// Publishes the state of the media to both parties if it has changed with a seat.
    pub(super) async fn publish_state_change(
        &self,
        call: &Call,
        before: &SeatPair,
        after: &SeatPair,
    ) {
        let lost = self.terms.media.lost;
        let state = derive_state(call, after, lost);
        if state != derive_state(call, before, lost) {
            self.publish_state(call, state).await;
        }
    }

    pub(super) async fn publish_state(&self, call: &Call, state: MediaState) {
        let state = wire_media_state(call.call_id, state);
        let messages = call
            .parties()
            .map(|user_id| (user_id, Kind::MediaState(state)));
        self.seat_messages
            .publish(call.call_id, messages.to_vec())
            .await;
    }
}

/// Returns how much the totals of an app have grown. An app with a new connection counts from zero.
fn growth_since(seat: &Seat, totals: ClientTotals) -> ClientTotals {
    if totals.tx_packets < seat.tx_packets || totals.rx_packets < seat.rx_packets {
        return totals;
    }
    ClientTotals {
        tx_packets: totals.tx_packets - seat.tx_packets,
        rx_packets: totals.rx_packets - seat.rx_packets,
        rx_lost: (totals.rx_lost - seat.rx_lost).max(0),
        rx_energy: (totals.rx_energy - seat.rx_energy).max(0.0),
        rtt_ms: totals.rtt_ms,
    }
}

/// Converts the state of the media for the wire.
pub(crate) fn wire_media_state(call_id: i64, state: MediaState) -> wire::MediaState {
    let status = match state.status {
        MediaStatus::Connecting => wire::MediaStatus::Connecting,
        MediaStatus::Connected => wire::MediaStatus::Connected,
        MediaStatus::PeerLost => wire::MediaStatus::PeerLost,
        MediaStatus::Lost => wire::MediaStatus::Lost,
    };
    wire::MediaState {
        call_id,
        status: status.into(),
        since: Some(timestamp(state.since)),
        ends_at: state.ends_at.map(timestamp),
    }
}
