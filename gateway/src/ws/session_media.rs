//! The part of a conversation that concerns the media of a call.

use std::time::{Duration, Instant};

use axum::extract::ws::Utf8Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::grpc::with_deadline;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::calls::v1::seat_message::Kind;
use talktime_proto::calls::v1::{LeaveSeatRequest, RefreshSeatRequest, SeatSignal};

use super::client_message::ClientMessage;
use super::media_failures::{BAD_SIGNAL, INVALID_SEAT, media_failure};
use super::media_messages::{
    JoinMessage, JoinedMessage, MediaMessage, MediaStateMessage, PeerSeatMessage,
    PeerSignalMessage, SeatRef, SeatTakenMessage, SignalMessage, ice_servers,
};
use super::media_seat::{MediaSeat, PeerSeat, require_seat, subscribe_seat};
use super::message::ErrorMessage;
use super::session::SocketSession;
use crate::media_join::join_call;

/// The session sends nothing else while it waits for calls.
const TIMEOUT: Duration = Duration::from_secs(2);

type Answer<T> = Result<T, ErrorMessage<'static>>;

impl SocketSession {
    /// Handles a message about the media of a call. `signal` and `leave` have no answer unless they are refused.
    pub(super) async fn handle_media(&mut self, message: &ClientMessage<'_>) -> Option<Utf8Bytes> {
        let handled = match message.r#type.as_str() {
            "join" => self.join(message).await,
            "signal" => self.send_signal(message).await,
            "media" => self.report_media(message).await,
            "refresh" => self.refresh(message).await,
            _ => self.leave(message).await,
        };
        handled.unwrap_or_else(|failure| {
            if matches!(failure.code, "STALE_EPOCH" | "NOT_IN_CALL") {
                self.drop_seat_of(message);
            }
            Some(self.text("error", failure))
        })
    }

    async fn join(&mut self, message: &ClientMessage<'_>) -> Answer<Option<Utf8Bytes>> {
        let join: JoinMessage = parse(message)?;
        let user_id = self.user_id;
        // The subscription precedes the join, so no message after the join is missed.
        let messages = subscribe_seat(&self.context.nats, user_id).await;
        let messages = messages.ok_or_else(|| media_failure(&Error::internal("no NATS")))?;
        let current_user = self.guards.current_user();
        let joining = join_call(
            &self.context.calls,
            current_user,
            join.call_id,
            join.take_over,
        );
        let joined = call_with_deadline(joining).await?;
        let peer = PeerSeat::new(joined.peer_user_id, joined.peer_epoch);
        let joined = JoinedMessage::from(joined);
        self.seat = Some(MediaSeat::new(joined.clone(), peer, messages));
        Ok(Some(self.text("joined", joined)))
    }

    async fn send_signal(&mut self, message: &ClientMessage<'_>) -> Answer<Option<Utf8Bytes>> {
        let signal: SignalMessage = parse(message).map_err(|_| BAD_SIGNAL)?;
        let seat = require_seat(&mut self.seat, signal.seat)?;
        seat.send_signal(&self.context.nats, signal.body).await?;
        Ok(None)
    }

    async fn report_media(&mut self, message: &ClientMessage<'_>) -> Answer<Option<Utf8Bytes>> {
        let report: MediaMessage = parse(message)?;
        let request = report.into_request(self.user_id).ok_or(INVALID_SEAT)?;
        let calls = &self.context.calls;
        let reporting = retry_idempotent(calls, CallsServiceClient::report_media, request);
        let reported = call_with_deadline(reporting).await?;
        let state = reported.state.as_ref().map(MediaStateMessage::new);
        Ok(state.map(|state| self.text("media_state", state)))
    }

    async fn refresh(&mut self, message: &ClientMessage<'_>) -> Answer<Option<Utf8Bytes>> {
        let SeatRef { call_id, epoch } = parse(message)?;
        let request = RefreshSeatRequest {
            call_id,
            user_id: self.user_id,
            epoch,
        };
        let calls = &self.context.calls;
        let refreshing = retry_idempotent(calls, CallsServiceClient::refresh_seat, request);
        let refreshed = call_with_deadline(refreshing).await?;
        let seat = require_seat(&mut self.seat, SeatRef { call_id, epoch })?;
        let joined = seat.joined_mut();
        joined.ice_servers = ice_servers(refreshed.ice_servers);
        let joined = joined.clone();
        Ok(Some(self.text("joined", joined)))
    }

    async fn leave(&mut self, message: &ClientMessage<'_>) -> Answer<Option<Utf8Bytes>> {
        let SeatRef { call_id, epoch } = parse(message)?;
        let request = LeaveSeatRequest {
            call_id,
            user_id: self.user_id,
            epoch,
        };
        let mut calls = self.context.calls.clone();
        let leaving = async move { Ok(calls.leave_seat(request).await?) };
        call_with_deadline(leaving).await?;
        self.drop_seat_of(message);
        Ok(None)
    }

    /// Drops the seat that the message is about, if this socket has it.
    fn drop_seat_of(&mut self, message: &ClientMessage<'_>) {
        let named: Option<SeatRef> = parse(message).ok();
        if named.is_some_and(|named| require_seat(&mut self.seat, named).is_ok()) {
            self.seat = None;
        }
    }

    /// Returns the message for the client about what has happened to its seat or on the other side.
    pub(super) fn describe_seat_message(&mut self, kind: Kind) -> Option<Utf8Bytes> {
        let seat = self.seat.as_mut()?;
        let call_id = seat.call_id();
        match kind {
            Kind::Signal(signal) => {
                let signal = peer_signal(call_id, &signal)?;
                Some(self.text("signal", signal))
            }
            Kind::PeerJoined(peer_epoch) => {
                seat.joined_mut().peer_joined = true;
                Some(self.peer_message("peer_joined", call_id, peer_epoch))
            }
            Kind::PeerLeft(peer_epoch) => {
                seat.joined_mut().peer_joined = false;
                Some(self.peer_message("peer_left", call_id, peer_epoch))
            }
            Kind::Taken(_) => {
                self.seat = None;
                Some(self.text("seat_taken", SeatTakenMessage { call_id }))
            }
            Kind::MediaState(state) => {
                Some(self.text("media_state", MediaStateMessage::new(&state)))
            }
            // The events of the call say how it ended.
            Kind::Closed(_) => {
                self.seat = None;
                None
            }
        }
    }

    fn peer_message(&self, r#type: &str, call_id: i64, peer_epoch: i32) -> Utf8Bytes {
        let data = PeerSeatMessage {
            call_id,
            peer_epoch,
        };
        self.text(r#type, data)
    }
}

/// The message about a signal; `None` if another version of the gateway sent something unknown.
fn peer_signal(call_id: i64, signal: &SeatSignal) -> Option<impl Serialize + use<>> {
    let body = serde_json::from_str(&signal.data).ok()?;
    Some(PeerSignalMessage {
        call_id,
        from_epoch: signal.from_epoch,
        body,
    })
}

fn parse<T: DeserializeOwned>(message: &ClientMessage<'_>) -> Answer<T> {
    let data = message.data.ok_or(INVALID_SEAT)?;
    serde_json::from_str(data.get()).map_err(|_| INVALID_SEAT)
}

/// Waits for an answer of the calls service; its refusals become errors for the client.
async fn call_with_deadline<T>(request: impl Future<Output = Result<T, Error>>) -> Answer<T> {
    let answered = with_deadline(Instant::now() + TIMEOUT, request).await;
    answered.map_err(|error| media_failure(&error))
}
