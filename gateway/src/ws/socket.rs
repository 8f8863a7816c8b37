//! One client's socket, from `hello` to its close.

use std::pin::pin;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use talktime_kit::Clock;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::Hub;
use super::hub::Subscription;
use super::message::{Empty, Failure, Hello, Incoming, Outgoing};
use crate::token::Caller;

const PING_EVERY: Duration = Duration::from_secs(20);
const SILENCE_MAX: Duration = Duration::from_mins(1);
/// A client that does not take one message within it does not read.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
/// For the client's half of the close handshake (RFC 6455, section 7.1.1).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest message we take from a client.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Close codes of the contract.
const AUTH_FAILED: u16 = 4401;
const TOO_SLOW: u16 = 4408;

/// Why a socket ends.
enum Ending {
    /// The client is gone, or its connection is broken.
    Gone,
    TokenExpired,
    TooSlow,
    TooLarge,
    Stopping,
}

/// A socket and what it needs.
pub(super) struct Connection {
    hub: Hub,
    clock: Clock,
    caller: Caller,
    stopping: CancellationToken,
}

/// Refuses a socket whose token is not good.
pub(super) async fn refuse(mut socket: WebSocket, detail: &str, now: DateTime<Utc>) {
    if send(&mut socket, auth_failed(detail, now, 0)).await.is_ok() {
        close(socket, AUTH_FAILED, "AUTH_FAILED").await;
    }
}

fn auth_failed(message: &str, timestamp: DateTime<Utc>, seq: u64) -> Utf8Bytes {
    let data = Failure {
        code: "AUTH_FAILED",
        message,
    };
    Outgoing {
        r#type: "error",
        data,
        timestamp,
        seq,
    }
    .to_text()
}

impl Connection {
    pub(super) fn new(hub: Hub, clock: Clock, caller: Caller, stopping: CancellationToken) -> Self {
        Self {
            hub,
            clock,
            caller,
            stopping,
        }
    }

    /// Serves the socket until it ends.
    pub(super) async fn run(self, mut socket: WebSocket) {
        let gauge = metrics::gauge!("ws_connections", "channel" => "presence");
        gauge.increment(1);
        let mut subscription = self.hub.subscribe();
        let Err(ending) = self.serve(&mut socket, &mut subscription).await;
        match ending {
            Ending::Gone => {}
            Ending::TokenExpired => {
                let detail = "The access token has expired.";
                let last_word = auth_failed(detail, self.clock.now(), subscription.seq);
                if send(&mut socket, last_word).await.is_ok() {
                    close(socket, AUTH_FAILED, "AUTH_FAILED").await;
                }
            }
            Ending::TooSlow => close(socket, TOO_SLOW, "TOO_SLOW").await,
            Ending::TooLarge => close(socket, close_code::SIZE, "MESSAGE_TOO_LARGE").await,
            Ending::Stopping => close(socket, close_code::RESTART, "RESTARTING").await,
        }
        gauge.decrement(1);
    }

    async fn serve(
        &self,
        socket: &mut WebSocket,
        subscription: &mut Subscription,
    ) -> Result<std::convert::Infallible, Ending> {
        let hello = Hello {
            epoch: self.hub.epoch(),
            seq: subscription.seq,
        };
        send(socket, self.text("hello", hello, subscription.seq)).await?;
        let mut pings = interval_at(Instant::now() + PING_EVERY, PING_EVERY);
        let mut silence = pin!(sleep(SILENCE_MAX));
        let mut expiry = pin!(sleep(self.time_left()));
        loop {
            tokio::select! {
                update = subscription.updates.recv() => match update {
                    Ok(update) => {
                        subscription.seq = update.seq;
                        send(socket, update.text).await?;
                    }
                    Err(RecvError::Lagged(_)) => return Err(Ending::TooSlow),
                    Err(RecvError::Closed) => return Err(Ending::Stopping),
                },
                received = socket.recv() => {
                    silence.as_mut().reset(Instant::now() + SILENCE_MAX);
                    let message = received_message(received)?;
                    self.answer(socket, &message, subscription.seq).await?;
                }
                _ = pings.tick() => send_message(socket, Message::Ping(Bytes::new())).await?,
                () = &mut silence => return Err(Ending::Gone),
                () = &mut expiry => return Err(Ending::TokenExpired),
                () = self.stopping.cancelled() => return Err(Ending::Stopping),
            }
        }
    }

    fn time_left(&self) -> Duration {
        let left = self.caller.expires_at - self.clock.now();
        left.to_std().unwrap_or_default()
    }

    /// Protocol pings are answered below us.
    async fn answer(
        &self,
        socket: &mut WebSocket,
        message: &Message,
        seq: u64,
    ) -> Result<(), Ending> {
        let Message::Text(text) = message else {
            return Ok(());
        };
        let answer = match serde_json::from_str::<Incoming>(text) {
            Ok(incoming) if incoming.r#type == "ping" => self.text("pong", Empty {}, seq),
            Ok(_) => self.text("error", UNKNOWN_TYPE, seq),
            Err(_) => self.text("error", NOT_A_MESSAGE, seq),
        };
        send(socket, answer).await
    }

    fn text(&self, r#type: &str, data: impl serde::Serialize, seq: u64) -> Utf8Bytes {
        let timestamp = self.clock.now();
        Outgoing {
            r#type,
            data,
            timestamp,
            seq,
        }
        .to_text()
    }
}

const UNKNOWN_TYPE: Failure<'static> = Failure {
    code: "UNKNOWN_TYPE",
    message: "This channel does not know messages of this type.",
};
const NOT_A_MESSAGE: Failure<'static> = Failure {
    code: "INVALID_MESSAGE",
    message: "A message is a JSON object with a type.",
};

fn received_message(received: Option<Result<Message, axum::Error>>) -> Result<Message, Ending> {
    match received {
        Some(Ok(Message::Close(_)) | Err(_)) | None => Err(Ending::Gone),
        Some(Ok(message)) if size(&message) > MESSAGE_BYTES_MAX => Err(Ending::TooLarge),
        Some(Ok(message)) => Ok(message),
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

async fn send(socket: &mut WebSocket, text: Utf8Bytes) -> Result<(), Ending> {
    send_message(socket, Message::Text(text)).await
}

async fn send_message(socket: &mut WebSocket, message: Message) -> Result<(), Ending> {
    match timeout(SEND_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ending::Gone),
        Err(_elapsed) => Err(Ending::TooSlow),
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
