//! The conversation with one client, from `hello` until a reason to end it.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::ws::{Message, Utf8Bytes, WebSocket};
use bytes::Bytes;
use futures::SinkExt;
use tokio::time::{Instant, interval_at, timeout};

use super::channel::SocketChannel;
use super::client_message::{
    ClientMessage, ClientMessageRate, INVALID_CALL_ID, INVALID_USER_IDS, NOT_A_MESSAGE,
    TOO_MANY_USER_IDS, UNKNOWN_TYPE, check_received,
};
use super::close::SocketSessionEnd;
use super::context::{AdmittedClient, SocketContext};
use super::guards::SocketSessionGuards;
use super::media_seat::{MediaSeat, receive_for_seat};
use super::message::{EmptyMessage, HelloMessage, OutgoingMessage, SubscribedUsers};
use super::reader::{ReaderStartPosition, SocketChannelReader, SocketResumeRequest};
use super::ring_acknowledgement::acknowledge_ring;

/// Messages that are written together.
const BATCH_MAX: usize = 64;
/// One write of so many is measured. The exporter keeps each measurement for ten seconds, and a gateway writes a hundred
/// thousand times a second.
const WRITES_A_MEASUREMENT: u64 = 16;

/// The conversation with one client.
pub(super) struct SocketSession {
    pub(super) user_id: i64,
    channel: SocketChannel,
    pub(super) context: Arc<SocketContext>,
    socket: WebSocket,
    reader: SocketChannelReader,
    start: ReaderStartPosition,
    pub(super) guards: SocketSessionGuards,
    rate: ClientMessageRate,
    /// Number of writes so far. It begins with the id of the user, so that the first writes, which are the largest, are
    /// measured as often as others.
    writes: u64,
    /// The seat of this socket in a call that the platform carries.
    pub(super) seat: Option<MediaSeat>,
}

impl SocketSession {
    pub(super) fn new(
        context: Arc<SocketContext>,
        channel: SocketChannel,
        admitted: &AdmittedClient,
        socket: WebSocket,
        resume: &SocketResumeRequest,
    ) -> Self {
        let AdmittedClient {
            current_user,
            viewer,
            stream,
        } = admitted;
        let (reader, start) =
            SocketChannelReader::new(stream.clone(), channel, viewer.viewer(), resume);
        let ended = stream.ended.clone();
        let guards =
            SocketSessionGuards::new(&context, current_user.clone(), viewer.viewer(), ended);
        Self {
            user_id: current_user.user_id,
            channel,
            context,
            socket,
            reader,
            start,
            guards,
            rate: ClientMessageRate::new(),
            writes: current_user.user_id.unsigned_abs(),
            seat: None,
        }
    }

    /// Runs the session and returns the socket with the reason of its end.
    pub(super) async fn run(mut self) -> (WebSocket, SocketSessionEnd) {
        let Err(end) = self.serve().await;
        (self.socket, end)
    }

    async fn serve(&mut self) -> Result<Infallible, SocketSessionEnd> {
        self.send_hello().await?;
        let ping_every = self.context.timeouts.ping_every;
        let mut pings = interval_at(Instant::now() + ping_every, ping_every);
        loop {
            self.send_updates().await?;
            tokio::select! {
                () = self.reader.wait_for_update() => {}
                received = self.socket.recv() => {
                    let message = check_received(received)?;
                    self.handle_message(&message).await?;
                }
                message = receive_for_seat(&mut self.seat, &self.context.nats) => {
                    let text = self.describe_seat_message(message);
                    self.send_texts(text.into_iter().collect()).await?;
                }
                _ = pings.tick() => self.send_ping().await?,
                end = self.guards.wait_for_end() => return Err(end),
            }
        }
    }

    /// Sends `hello`, and a snapshot to a client that missed messages which are no longer kept.
    async fn send_hello(&mut self) -> Result<(), SocketSessionEnd> {
        let snapshot = if self.start == ReaderStartPosition::NeedsSnapshot {
            let snapshots = &self.context.snapshots;
            let loaded = snapshots.load(self.channel, self.guards.current_user(), &mut self.reader);
            Some(loaded.await.map_err(|_| SocketSessionEnd::TryAgain)?)
        } else {
            None
        };
        let stream = self.reader.stream().clone();
        let hello = HelloMessage {
            epoch: &stream.id,
            seq: self.reader.cursor(),
        };
        let mut texts = vec![self.text("hello", hello)];
        if let Some(data) = snapshot {
            texts.push(self.text("snapshot", data));
        }
        self.send_texts(texts).await
    }

    /// Sends all messages that the client has not received, as long as it keeps reading.
    async fn send_updates(&mut self) -> Result<(), SocketSessionEnd> {
        loop {
            let batch = self.reader.read_batch(BATCH_MAX);
            let texts = batch.map_err(|_too_old| SocketSessionEnd::TooSlow)?;
            // What was added after a read to the end wakes the socket again.
            let is_end = texts.len() < BATCH_MAX;
            if !texts.is_empty() {
                self.send_texts(texts).await?;
            }
            if is_end {
                return Ok(());
            }
        }
    }

    async fn send_ping(&mut self) -> Result<(), SocketSessionEnd> {
        if self.rate.silence() >= self.context.timeouts.silence_max {
            return Err(SocketSessionEnd::Gone);
        }
        self.rate.record_ping_sent();
        self.send([Message::Ping(Bytes::new())]).await
    }

    /// Handles a frame of the client. The WebSocket library answers protocol pings. They keep the connection
    /// open, but they are no heartbeats: client libraries send them even if the user wants to be offline.
    async fn handle_message(&mut self, message: &Message) -> Result<(), SocketSessionEnd> {
        let now = Instant::now();
        let text = match message {
            Message::Pong(_) => return self.rate.record_pong(now),
            Message::Ping(_) => return self.rate.record_message(now),
            Message::Text(text) => text.as_str(),
            Message::Binary(_) | Message::Close(_) => "",
        };
        self.rate.record_message(now)?;
        let answer = match serde_json::from_str::<ClientMessage<'_>>(text) {
            Ok(message) => self.answer(&message).await,
            Err(_) => Some(self.text("error", NOT_A_MESSAGE)),
        };
        self.send_texts(answer.into_iter().collect()).await
    }

    async fn answer(&mut self, message: &ClientMessage<'_>) -> Option<Utf8Bytes> {
        if self.channel == SocketChannel::Calls && message.is_about_media() {
            return self.handle_media(message).await;
        }
        Some(match message.r#type.as_str() {
            // Counts as a heartbeat, so that an app with a socket need not send any other.
            "ping" => {
                self.forward_heartbeat();
                self.text("pong", EmptyMessage {})
            }
            "heartbeat" => {
                self.forward_heartbeat();
                self.text("heartbeat_response", EmptyMessage {})
            }
            "subscribe" if self.channel.is_public() => self.subscribe(message),
            "unsubscribe" if self.channel.is_public() => self.unsubscribe(message),
            "ringing" if self.channel == SocketChannel::Calls => self.confirm_ring(message).await,
            _ => self.text("error", UNKNOWN_TYPE),
        })
    }

    fn forward_heartbeat(&self) {
        let heartbeats = &self.context.heartbeats;
        heartbeats.forward_detached(self.guards.current_user());
    }

    fn subscribe(&mut self, message: &ClientMessage<'_>) -> Utf8Bytes {
        let Some(user_ids) = message.user_ids() else {
            return self.text("error", INVALID_USER_IDS);
        };
        if self.reader.subscribe(user_ids) {
            self.subscribed_message()
        } else {
            self.text("error", TOO_MANY_USER_IDS)
        }
    }

    fn unsubscribe(&mut self, message: &ClientMessage<'_>) -> Utf8Bytes {
        let user_ids = message.user_ids();
        if user_ids.is_none() && message.data.is_some() {
            return self.text("error", INVALID_USER_IDS);
        }
        self.reader.unsubscribe(user_ids);
        self.subscribed_message()
    }

    async fn confirm_ring(&mut self, message: &ClientMessage<'_>) -> Utf8Bytes {
        let Some(call_id) = message.call_id() else {
            return self.text("error", INVALID_CALL_ID);
        };
        match acknowledge_ring(&self.context.calls, self.user_id, call_id).await {
            Ok(response) => self.text("ringing_response", response),
            Err(failure) => self.text("error", failure),
        }
    }

    fn subscribed_message(&self) -> Utf8Bytes {
        let user_ids = self.reader.subscribed_user_ids();
        self.text("subscribed", SubscribedUsers { user_ids })
    }

    pub(super) fn text(&self, r#type: &str, data: impl serde::Serialize) -> Utf8Bytes {
        OutgoingMessage {
            r#type,
            data,
            timestamp: self.context.clock.now(),
            seq: self.reader.cursor(),
        }
        .to_text()
    }

    async fn send_texts(&mut self, texts: Vec<Utf8Bytes>) -> Result<(), SocketSessionEnd> {
        self.send(texts.into_iter().map(Message::Text)).await
    }

    /// Writes messages together. The guards are watched meanwhile, so that a client that does not read cannot
    /// keep its session open.
    async fn send(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), SocketSessionEnd> {
        let started = Instant::now();
        let is_measured = self.writes.is_multiple_of(WRITES_A_MEASUREMENT);
        self.writes += 1;
        let write_max = self.context.timeouts.write_max;
        let Self { socket, guards, .. } = self;
        let write = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            // The write is polled first: usually all of it succeeds at once.
            biased;
            written = timeout(write_max, write) => match written {
                Ok(Ok(())) => {
                    if is_measured {
                        metrics::histogram!("ws_write_duration_seconds").record(started.elapsed());
                    }
                    Ok(())
                }
                Ok(Err(_)) => Err(SocketSessionEnd::Gone),
                Err(_elapsed) => Err(SocketSessionEnd::TooSlow),
            },
            end = guards.wait_for_end() => Err(end),
        }
    }
}
