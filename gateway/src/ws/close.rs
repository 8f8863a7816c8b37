//! How sockets end, and what their clients are sent then.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use chrono::{DateTime, Utc};
use tokio::time::timeout;
use tungstenite::error::{Error as ReadError, ProtocolError};

use super::message::{ErrorMessage, OutgoingMessage};

const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);
/// For the client's half of the close handshake (RFC 6455, section 7.1.1).
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

// The close codes of the contract.
pub(super) const AUTH_FAILED: u16 = 4401;
pub(super) const PERMISSION_DENIED: u16 = 4403;
pub(super) const TOO_SLOW: u16 = 4408;
pub(super) const TOO_MANY: u16 = 4429;

/// The reason why a socket is refused or ended. The client receives it in an `error` message and in the close.
#[derive(Debug)]
pub(super) struct SocketRefusal {
    close_code: u16,
    code: &'static str,
    message: String,
}

impl SocketRefusal {
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

    pub(super) fn no_roles() -> Self {
        Self::new(
            PERMISSION_DENIED,
            "PERMISSION_DENIED",
            "This account has no access.",
        )
    }

    pub(super) fn too_many_connections() -> Self {
        let message = "There are too many connections of this user.";
        Self::new(TOO_MANY, "CONNECTION_LIMIT", message)
    }

    pub(super) fn too_many_connections_of_address() -> Self {
        let message = "There are too many connections from this network.";
        Self::new(TOO_MANY, "CONNECTION_LIMIT", message)
    }

    pub(super) fn too_many_messages() -> Self {
        let message = "At most 30 messages a second are allowed.";
        Self::new(TOO_MANY, "RATE_LIMITED", message)
    }
}

/// The reason why a session ends.
pub(super) enum SocketSessionEnd {
    /// The client is gone, or its connection is broken.
    Gone,
    /// The client sent a close frame.
    ClosedByClient,
    /// The client violated the WebSocket protocol. The close code says how.
    ProtocolViolation(u16),
    Refused(SocketRefusal),
    TooSlow,
    TooLarge,
    /// The client must connect again: the process stops, or the stream of events was replaced.
    Restarting,
    /// A part of the platform is unavailable.
    TryAgain,
}

impl SocketSessionEnd {
    /// Returns the label for metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Gone => "gone",
            Self::ClosedByClient => "closed",
            Self::ProtocolViolation(_) => "protocol_error",
            Self::Refused(refusal) => refusal.code,
            Self::TooSlow => "too_slow",
            Self::TooLarge => "too_large",
            Self::Restarting => "restarting",
            Self::TryAgain => "try_again",
        }
    }

    /// Chooses the end of a socket that cannot be read any more, with a close code for a client that is still
    /// connected (RFC 6455, section 7.4.1).
    pub(super) fn of_read_error(error: axum::Error) -> Self {
        match error.into_inner().downcast_ref::<ReadError>() {
            Some(ReadError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Self::Gone,
            Some(ReadError::Protocol(_)) => Self::ProtocolViolation(close_code::PROTOCOL),
            Some(ReadError::Utf8(_)) => Self::ProtocolViolation(close_code::INVALID),
            Some(ReadError::Capacity(_)) => Self::TooLarge,
            _ => Self::Gone,
        }
    }
}

/// Closes a socket for this reason.
pub(super) async fn end_socket(socket: WebSocket, end: SocketSessionEnd, now: DateTime<Utc>) {
    match end {
        SocketSessionEnd::Gone => {}
        SocketSessionEnd::ClosedByClient => finish_close(socket).await,
        SocketSessionEnd::ProtocolViolation(code) => {
            close_socket(socket, code, "PROTOCOL_ERROR").await;
        }
        SocketSessionEnd::Refused(refusal) => refuse_socket(socket, &refusal, now).await,
        SocketSessionEnd::TooSlow => close_socket(socket, TOO_SLOW, "TOO_SLOW").await,
        SocketSessionEnd::TooLarge => {
            close_socket(socket, close_code::SIZE, "MESSAGE_TOO_LARGE").await;
        }
        SocketSessionEnd::Restarting => {
            close_socket(socket, close_code::RESTART, "RESTARTING").await;
        }
        SocketSessionEnd::TryAgain => close_socket(socket, close_code::AGAIN, "TRY_AGAIN").await,
    }
}

/// Sends the reason of a refusal as a message and closes the socket.
pub(super) async fn refuse_socket(
    mut socket: WebSocket,
    refusal: &SocketRefusal,
    now: DateTime<Utc>,
) {
    let data = ErrorMessage {
        code: refusal.code,
        message: &refusal.message,
    };
    let text = OutgoingMessage {
        r#type: "error",
        data,
        timestamp: now,
        seq: 0,
    }
    .to_text();
    let sent = timeout(REFUSAL_TIMEOUT, socket.send(Message::Text(text))).await;
    if matches!(sent, Ok(Ok(()))) {
        close_socket(socket, refusal.close_code, refusal.code).await;
    }
}

/// Sends a close frame and waits a moment for the client's.
async fn close_socket(mut socket: WebSocket, code: u16, reason: &'static str) {
    let frame = CloseFrame {
        code,
        reason: Utf8Bytes::from_static(reason),
    };
    let handshake = async {
        if socket.send(Message::Close(Some(frame))).await.is_ok() {
            while let Some(Ok(_)) = socket.recv().await {}
        }
    };
    // The connection of a client that does not answer is closed all the same.
    let _ = timeout(CLOSE_TIMEOUT, handshake).await;
}

/// Sends the answer to the client's close frame, which the WebSocket library writes with the next read.
async fn finish_close(mut socket: WebSocket) {
    let read_to_end = async { while let Some(Ok(_)) = socket.recv().await {} };
    let _ = timeout(CLOSE_TIMEOUT, read_to_end).await;
}
