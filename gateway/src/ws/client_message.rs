//! The messages of clients: their limits and their content.

use std::time::Duration;

use axum::extract::ws::Message;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::close::{SocketRefusal, SocketSessionEnd};
use super::message::{ErrorMessage, SubscriptionRequest};
use super::reader::SUBSCRIBED_MAX;
use super::ring_acknowledgement::RingConfirmation;

/// Longest message that a client may send.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024;
pub(super) const MESSAGES_A_SECOND_MAX: u32 = 30;

pub(super) const UNKNOWN_TYPE: ErrorMessage<'static> = ErrorMessage {
    code: "UNKNOWN_TYPE",
    message: "This channel has no messages of this type.",
};
pub(super) const NOT_A_MESSAGE: ErrorMessage<'static> = ErrorMessage {
    code: "INVALID_MESSAGE",
    message: "A message is a JSON object with a type.",
};
pub(super) const INVALID_USER_IDS: ErrorMessage<'static> = ErrorMessage {
    code: "INVALID_MESSAGE",
    message: "data.user_ids is a list of at most 1000 ids.",
};
pub(super) const TOO_MANY_USER_IDS: ErrorMessage<'static> = ErrorMessage {
    code: "TOO_MANY_USER_IDS",
    message: "A subscription has at most 1000 users.",
};

pub(super) const INVALID_CALL_ID: ErrorMessage<'static> = ErrorMessage {
    code: "INVALID_MESSAGE",
    message: "data.call_id is the id of a call.",
};

/// A message from a client.
#[derive(Deserialize)]
pub(super) struct ClientMessage<'a> {
    pub(super) r#type: String,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

impl ClientMessage<'_> {
    /// Whether the message is about the media of a call that the platform carries.
    pub(super) fn is_about_media(&self) -> bool {
        let types = ["join", "signal", "media", "refresh", "leave"];
        types.contains(&self.r#type.as_str())
    }

    /// Returns the `user_ids` of a subscription; `None` if they are missing, invalid or too many.
    pub(super) fn user_ids(&self) -> Option<Vec<i64>> {
        let subscription = serde_json::from_str::<SubscriptionRequest>(self.data?.get()).ok()?;
        (subscription.user_ids.len() <= SUBSCRIBED_MAX).then_some(subscription.user_ids)
    }

    /// Returns the `call_id` of a confirmation; `None` if it is missing or invalid.
    pub(super) fn call_id(&self) -> Option<i64> {
        let confirmation = serde_json::from_str::<RingConfirmation>(self.data?.get()).ok()?;
        Some(confirmation.call_id)
    }
}

/// Returns the frame that was received, or the reason why the session ends.
pub(super) fn check_received(
    received: Option<Result<Message, axum::Error>>,
) -> Result<Message, SocketSessionEnd> {
    match received {
        Some(Ok(Message::Close(_))) => Err(SocketSessionEnd::ClosedByClient),
        Some(Ok(message)) if size(&message) > MESSAGE_BYTES_MAX => Err(SocketSessionEnd::TooLarge),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(SocketSessionEnd::of_read_error(error)),
        None => Err(SocketSessionEnd::Gone),
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

/// Counts the messages of a client in the current second.
pub(super) struct ClientMessageRate {
    last_at: Instant,
    second: Instant,
    in_second: u32,
    unanswered_pings: u32,
}

impl ClientMessageRate {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self {
            last_at: now,
            second: now,
            in_second: 0,
            unanswered_pings: 0,
        }
    }

    /// Returns how long the client has sent nothing.
    pub(super) fn silence(&self) -> Duration {
        self.last_at.elapsed()
    }

    /// Records the answer to a ping, which is no message. Pongs that answer no ping are allowed (RFC 6455, section
    /// 5.5.3), but cost as much as messages, so they count as such.
    pub(super) fn record_pong(&mut self, now: Instant) -> Result<(), SocketSessionEnd> {
        if self.unanswered_pings == 0 {
            return self.record_message(now);
        }
        self.unanswered_pings -= 1;
        self.last_at = now;
        Ok(())
    }

    /// Records that a ping was sent, which the client answers.
    pub(super) fn record_ping_sent(&mut self) {
        self.unanswered_pings = self.unanswered_pings.saturating_add(1);
    }

    /// Counts a message. Fails if there are too many in this second.
    pub(super) fn record_message(&mut self, now: Instant) -> Result<(), SocketSessionEnd> {
        self.last_at = now;
        if now - self.second >= Duration::from_secs(1) {
            self.second = now;
            self.in_second = 0;
        }
        self.in_second += 1;
        if self.in_second > MESSAGES_A_SECOND_MAX {
            return Err(SocketSessionEnd::Refused(SocketRefusal::too_many_messages()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_thirty_first_message_of_a_second_is_refused() {
        let mut rate = ClientMessageRate::new();
        let now = rate.second;
        let in_time = (0..MESSAGES_A_SECOND_MAX).all(|_| rate.record_message(now).is_ok());
        assert!(in_time && rate.record_message(now).is_err());
        let next_second = now + Duration::from_secs(1);
        assert!(rate.record_message(next_second).is_ok());
    }

    #[tokio::test]
    async fn pongs_that_answer_no_ping_count_as_messages() {
        let mut rate = ClientMessageRate::new();
        let now = rate.second;
        rate.record_ping_sent();
        assert!(rate.record_pong(now).is_ok());
        let in_time = (0..MESSAGES_A_SECOND_MAX).all(|_| rate.record_pong(now).is_ok());
        assert!(in_time && rate.record_pong(now).is_err());
    }
}
