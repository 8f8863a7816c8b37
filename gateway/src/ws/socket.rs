//! One client's socket, from `hello` to its close.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::SinkExt;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tungstenite::error::{Error as ReadError, ProtocolError};

use super::channel::Channel;
use super::entry::{GateParts, Guest};
use super::message::{Empty, Failure, Hello, Incoming, Outgoing, Subscribed, Subscription};
use super::reader::{Beginning, Reader, Resume, SUBSCRIBED_MAX};
use super::viewer::ViewerHandle;
use crate::config::SocketsConfig;
use crate::token::{Caller, Tokens};

/// For a client that is refused.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// For the client's half of the close handshake (RFC 6455, section 7.1.1).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Messages written together.
const PIECE_MAX: usize = 64;

/// Longest message we take from a client.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// Messages that a client may send a second.
pub(super) const MESSAGES_A_SECOND_MAX: u32 = 30;

/// Close codes of the contract.
pub(super) const AUTH_FAILED: u16 = 4401;
pub(super) const PERMISSION_DENIED: u16 = 4403;
pub(super) const TOO_SLOW: u16 = 4408;
pub(super) const TOO_MUCH: u16 = 4429;

/// How long clients are waited for.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    ping_every: Duration,
    silence_max: Duration,
    unread_max: Duration,
}

impl Patience {
    pub(super) fn new(config: SocketsConfig) -> Self {
        Self {
            ping_every: Duration::from_millis(config.ping_every_ms.max(1)),
            silence_max: Duration::from_millis(config.silence_max_ms),
            unread_max: Duration::from_millis(config.unread_max_ms),
        }
    }
}

/// Why a socket may not be, or not stay: said in a message, then in the close.
#[derive(Debug)]
pub(super) struct Refusal {
    close_code: u16,
    code: &'static str,
    message: String,
}

impl Refusal {
    fn new(close_code: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            close_code,
            code,
            message: message.into(),
        }
    }

    pub(super) fn auth_failed(message: impl Into<String>) -> Self {
        Self::new(AUTH_FAILED, "AUTH_FAILED", message)
    }

    pub(super) fn barred() -> Self {
        Self::new(
            PERMISSION_DENIED,
            "PERMISSION_DENIED",
            "This account has no access.",
        )
    }

    fn no_place() -> Self {
        let message = "There are too many connections of this user.";
        Self::new(TOO_MUCH, "CONNECTION_LIMIT", message)
    }

    fn flooding() -> Self {
        let message = "At most 30 messages a second are taken.";
        Self::new(TOO_MUCH, "RATE_LIMITED", message)
    }
}

/// Why a socket ends.
enum Ending {
    /// The client is gone, or its connection is broken.
    Gone,
    /// The client has sent its close.
    Closed,
    /// The client violated the WebSocket protocol: the close code that names how.
    Violation(u16),
    Refused(Refusal),
    TooSlow,
    TooLarge,
    /// The client is to come back: we stop, or read from another stream.
    Restarting,
    /// What it needs cannot be had now.
    TryAgain,
}

/// Refuses a socket that was accepted to be told so.
pub(super) async fn refuse(mut socket: WebSocket, refusal: &Refusal, now: DateTime<Utc>) {
    let data = Failure {
        code: refusal.code,
        message: &refusal.message,
    };
    let text = Outgoing {
        r#type: "error",
        data,
        timestamp: now,
        seq: 0,
    }
    .to_text();
    let told = timeout(REFUSAL_TIMEOUT, socket.send(Message::Text(text))).await;
    if matches!(told, Ok(Ok(()))) {
        close(socket, refusal.close_code, refusal.code).await;
    }
}

/// A socket and what it needs.
pub(super) struct Connection {
    gate: Arc<GateParts>,
    channel: Channel,
    guest: Guest,
}

impl Connection {
    pub(super) fn new(gate: Arc<GateParts>, channel: Channel, guest: Guest) -> Self {
        Self {
            gate,
            channel,
            guest,
        }
    }

    /// Serves the socket until it ends.
    pub(super) async fn run(self, socket: WebSocket, resume: Resume) {
        let Some(place) = self.gate.places.take(&self.guest.caller).await else {
            return refuse(socket, &Refusal::no_place(), self.gate.clock.now()).await;
        };
        let gauge = metrics::gauge!("ws_connections", "channel" => self.channel.name());
        gauge.increment(1);
        let gate = self.gate.clone();
        self.serve(socket, resume).await;
        gauge.decrement(1);
        gate.places.give_back(place).await;
    }

    async fn serve(self, socket: WebSocket, resume: Resume) {
        let Self {
            gate,
            channel,
            guest,
        } = self;
        let Guest {
            caller,
            viewer,
            epoch,
        } = guest;
        let (reader, beginning) = Reader::new(epoch, channel, viewer.clone(), &resume);
        let limits = Limits::new(&gate, caller.clone(), &viewer, reader.epoch().ended.clone());
        let mut session = Session {
            user_id: caller.user_id,
            socket,
            reader,
            limits,
            received: Received::new(),
            gate,
            channel,
        };
        let Err(ending) = session.serve(beginning).await;
        let Session { socket, gate, .. } = session;
        metrics::counter!(
            "ws_connections_ended_total",
            "channel" => channel.name(),
            "reason" => ending.name(),
        )
        .increment(1);
        match ending {
            Ending::Gone => {}
            Ending::Closed => finish(socket).await,
            Ending::Violation(code) => close(socket, code, "PROTOCOL_ERROR").await,
            Ending::Refused(refusal) => refuse(socket, &refusal, gate.clock.now()).await,
            Ending::TooSlow => close(socket, TOO_SLOW, "TOO_SLOW").await,
            Ending::TooLarge => close(socket, close_code::SIZE, "MESSAGE_TOO_LARGE").await,
            Ending::Restarting => close(socket, close_code::RESTART, "RESTARTING").await,
            Ending::TryAgain => close(socket, close_code::AGAIN, "TRY_AGAIN").await,
        }
    }
}

impl Ending {
    /// A label of metrics.
    fn name(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::Closed => "closed",
            Self::Violation(_) => "protocol_error",
            Self::Refused(refusal) => refusal.code,
            Self::TooSlow => "too_slow",
            Self::TooLarge => "too_large",
            Self::Restarting => "restarting",
            Self::TryAgain => "try_again",
        }
    }
}

/// What ends a socket whatever its client does.
struct Limits {
    tokens: Tokens,
    caller: Caller,
    viewer: ViewerDoubts,
    expires_at: Instant,
    stopping: CancellationToken,
    epoch_ended: CancellationToken,
}

/// Wakes when it is in doubt whether the socket may stay.
struct ViewerDoubts {
    viewer: Arc<super::viewer::Viewer>,
    doubts: watch::Receiver<()>,
}

impl Limits {
    fn new(
        gate: &GateParts,
        caller: Caller,
        viewer: &ViewerHandle,
        epoch_ended: CancellationToken,
    ) -> Self {
        let left = caller.expires_at - gate.clock.now();
        let mut doubts = viewer.doubts.subscribe();
        // The token was checked before we heard of doubts: look once more.
        doubts.mark_changed();
        Self {
            tokens: gate.tokens.clone(),
            expires_at: Instant::now() + left.to_std().unwrap_or_default(),
            caller,
            viewer: ViewerDoubts {
                viewer: (*viewer).clone(),
                doubts,
            },
            stopping: gate.lifecycle.stopping(),
            epoch_ended,
        }
    }

    /// Resolves when one of them is reached. May be dropped and asked again.
    async fn reached(&mut self) -> Ending {
        loop {
            tokio::select! {
                () = sleep_until(self.expires_at) => {
                    return Ending::Refused(Refusal::auth_failed("The access token has expired."));
                }
                () = self.stopping.cancelled() => return Ending::Restarting,
                () = self.epoch_ended.cancelled() => return Ending::Restarting,
                // The viewer keeps the sender, and we keep the viewer.
                _ = self.viewer.doubts.changed() => {
                    if let Some(ending) = self.doubted().await {
                        return ending;
                    }
                }
            }
        }
    }

    /// What cannot be known is asked again when the next doubt comes.
    async fn doubted(&mut self) -> Option<Ending> {
        if self.viewer.viewer.is_barred() {
            return Some(Ending::Refused(Refusal::barred()));
        }
        let is_revoked = self.tokens.is_revoked(&self.caller).await;
        is_revoked
            .unwrap_or_default()
            .then(|| Ending::Refused(Refusal::auth_failed("The access token has been revoked.")))
    }
}

/// What a client may send, and when it last did.
struct Received {
    last_at: Instant,
    second: Instant,
    in_second: u32,
}

impl Received {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            last_at: now,
            second: now,
            in_second: 0,
        }
    }

    /// Counts a message; answers whether it is one too many.
    fn is_flood(&mut self, now: Instant) -> bool {
        self.last_at = now;
        if now - self.second >= Duration::from_secs(1) {
            self.second = now;
            self.in_second = 0;
        }
        self.in_second += 1;
        self.in_second > MESSAGES_A_SECOND_MAX
    }
}

/// A socket between its hello and its end.
struct Session {
    user_id: i64,
    channel: Channel,
    gate: Arc<GateParts>,
    socket: WebSocket,
    reader: Reader,
    limits: Limits,
    received: Received,
}

impl Session {
    async fn serve(&mut self, beginning: Beginning) -> Result<std::convert::Infallible, Ending> {
        self.greet(beginning).await?;
        let ping_every = self.gate.patience.ping_every;
        let mut pings = interval_at(Instant::now() + ping_every, ping_every);
        loop {
            self.read_on().await?;
            tokio::select! {
                () = self.reader.more() => {}
                received = self.socket.recv() => {
                    let message = received_message(received)?;
                    self.take(&message).await?;
                }
                _ = pings.tick() => self.ping().await?,
                ending = self.limits.reached() => return Err(ending),
            }
        }
    }

    /// `hello`, and a snapshot for those who have missed more than is kept.
    async fn greet(&mut self, beginning: Beginning) -> Result<(), Ending> {
        let snapshot = if beginning == Beginning::Lost {
            let snapshots = &self.gate.snapshots;
            let taken = snapshots.take(self.channel, self.user_id, &mut self.reader);
            Some(taken.await.map_err(|_| Ending::TryAgain)?)
        } else {
            None
        };
        let epoch = self.reader.epoch().clone();
        let hello = Hello {
            epoch: &epoch.id,
            seq: self.reader.cursor(),
        };
        let mut texts = vec![self.text("hello", hello)];
        if let Some(data) = snapshot {
            texts.push(self.text("snapshot", data));
        }
        self.send(texts).await
    }

    /// Sends what there is to read. As long as the client takes it, that is all of it.
    async fn read_on(&mut self) -> Result<(), Ending> {
        loop {
            let texts = self.reader.read(PIECE_MAX).map_err(|_| Ending::TooSlow)?;
            if texts.is_empty() {
                return Ok(());
            }
            self.send(texts).await?;
        }
    }

    async fn ping(&mut self) -> Result<(), Ending> {
        if self.received.last_at.elapsed() >= self.gate.patience.silence_max {
            return Err(Ending::Gone);
        }
        self.send_all([Message::Ping(Bytes::new())]).await
    }

    /// Protocol pings are answered below us, and keep the connection alone: libraries send them by
    /// themselves, so they say nothing of a person who wants to be offline.
    async fn take(&mut self, message: &Message) -> Result<(), Ending> {
        let is_flood = self.received.is_flood(Instant::now());
        let text = match message {
            // The answer to ours.
            Message::Pong(_) => return Ok(()),
            _ if is_flood => return Err(Ending::Refused(Refusal::flooding())),
            Message::Ping(_) => return Ok(()),
            Message::Text(text) => text.as_str(),
            Message::Binary(_) | Message::Close(_) => "",
        };
        let answer = match serde_json::from_str::<Incoming<'_>>(text) {
            Ok(incoming) => self.answer(&incoming),
            Err(_) => self.text("error", NOT_A_MESSAGE),
        };
        self.send(vec![answer]).await
    }

    fn answer(&mut self, incoming: &Incoming<'_>) -> Utf8Bytes {
        match incoming.r#type.as_str() {
            // A sign of life, so that an app with a socket need not send any other.
            "ping" => {
                self.gate.heartbeats.forward_detached(&self.limits.caller);
                self.text("pong", Empty {})
            }
            "heartbeat" => {
                self.gate.heartbeats.forward_detached(&self.limits.caller);
                self.text("heartbeat_response", Empty {})
            }
            "subscribe" if self.channel.is_public() => {
                let Some(user_ids) = user_ids_of(incoming) else {
                    return self.text("error", NO_USER_IDS);
                };
                if self.reader.subscribe(user_ids) {
                    self.subscribed()
                } else {
                    self.text("error", TOO_MANY_USER_IDS)
                }
            }
            "unsubscribe" if self.channel.is_public() => {
                let user_ids = user_ids_of(incoming);
                if user_ids.is_none() && incoming.data.is_some() {
                    return self.text("error", NO_USER_IDS);
                }
                self.reader.unsubscribe(user_ids);
                self.subscribed()
            }
            _ => self.text("error", UNKNOWN_TYPE),
        }
    }

    fn subscribed(&self) -> Utf8Bytes {
        let user_ids = self.reader.only();
        self.text("subscribed", Subscribed { user_ids })
    }

    fn text(&self, r#type: &str, data: impl serde::Serialize) -> Utf8Bytes {
        Outgoing {
            r#type,
            data,
            timestamp: self.gate.clock.now(),
            seq: self.reader.cursor(),
        }
        .to_text()
    }

    async fn send(&mut self, texts: Vec<Utf8Bytes>) -> Result<(), Ending> {
        self.send_all(texts.into_iter().map(Message::Text)).await
    }

    /// Writes them together. What ends the socket ends it in the midst of a client that does not
    /// read, too.
    async fn send_all(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), Ending> {
        let begun = Instant::now();
        let unread_max = self.gate.patience.unread_max;
        let Self { socket, limits, .. } = self;
        let write = async {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            // Whatever can be written at once is.
            biased;
            written = timeout(unread_max, write) => match written {
                Ok(Ok(())) => {
                    metrics::histogram!("ws_write_duration_seconds").record(begun.elapsed());
                    Ok(())
                }
                Ok(Err(_)) => Err(Ending::Gone),
                Err(_elapsed) => Err(Ending::TooSlow),
            },
            ending = limits.reached() => Err(ending),
        }
    }
}

fn user_ids_of(incoming: &Incoming<'_>) -> Option<Vec<i64>> {
    let subscription = serde_json::from_str::<Subscription>(incoming.data?.get()).ok()?;
    (subscription.user_ids.len() <= SUBSCRIBED_MAX).then_some(subscription.user_ids)
}

const UNKNOWN_TYPE: Failure<'static> = Failure {
    code: "UNKNOWN_TYPE",
    message: "This channel does not know messages of this type.",
};
const NOT_A_MESSAGE: Failure<'static> = Failure {
    code: "INVALID_MESSAGE",
    message: "A message is a JSON object with a type.",
};
const NO_USER_IDS: Failure<'static> = Failure {
    code: "INVALID_MESSAGE",
    message: "data.user_ids is a list of at most 1000 ids.",
};
const TOO_MANY_USER_IDS: Failure<'static> = Failure {
    code: "TOO_MANY_USER_IDS",
    message: "A socket hears of at most 1000 chosen users.",
};

fn received_message(received: Option<Result<Message, axum::Error>>) -> Result<Message, Ending> {
    match received {
        Some(Ok(Message::Close(_))) => Err(Ending::Closed),
        Some(Ok(message)) if size(&message) > MESSAGE_BYTES_MAX => Err(Ending::TooLarge),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(violation(error)),
        None => Err(Ending::Gone),
    }
}

/// The end of a socket that cannot be read on, with a close code for a client that is still there
/// (RFC 6455, section 7.4.1).
fn violation(error: axum::Error) -> Ending {
    match error.into_inner().downcast_ref::<ReadError>() {
        Some(ReadError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Ending::Gone,
        Some(ReadError::Protocol(_)) => Ending::Violation(close_code::PROTOCOL),
        Some(ReadError::Utf8(_)) => Ending::Violation(close_code::INVALID),
        Some(ReadError::Capacity(_)) => Ending::TooLarge,
        _ => Ending::Gone,
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) => bytes.len(),
        // The protocol bounds the others (RFC 6455, section 5.5).
        Message::Ping(_) | Message::Pong(_) | Message::Close(_) => 0,
    }
}

/// Says why, and gives the client a moment to hear it.
async fn close(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    };
    let handshake = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // A client that does not answer is cut off all the same.
    let _ = timeout(CLOSE_TIMEOUT, handshake).await;
}

/// Lets the answer to the client's close out, which goes with the next read.
async fn finish(mut socket: WebSocket) {
    let read_to_end = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = timeout(CLOSE_TIMEOUT, read_to_end).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_thirty_first_message_of_a_second_is_one_too_many() {
        let mut received = Received::new();
        let now = received.second;
        let in_time = (0..MESSAGES_A_SECOND_MAX).all(|_| !received.is_flood(now));
        assert!(in_time && received.is_flood(now));
        assert!(!received.is_flood(now + Duration::from_secs(1)));
    }
}
