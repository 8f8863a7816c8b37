//! The messages of each channel, as the document describes them.

use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::super::channel::SocketChannel;
use super::super::media_messages::{
    JoinMessage, JoinedMessage, MediaMessage, MediaStateMessage, PeerSeatMessage,
    PeerSignalMessage, SeatRef, SeatTakenMessage, SignalMessage,
};
use super::super::message::{
    EmptyMessage, ErrorMessage, HelloMessage, Status, SubscribedUsers, SubscriptionRequest,
};
use super::super::ring_acknowledgement::{RingConfirmation, RingResponse};
use super::super::ring_message_data::{CallsPausedMessage, RingMessage};
use super::super::snapshot::{CallSnapshot, NotificationsSnapshot, OnlineUsersSnapshot};
use super::super::user_message_data::{
    BalanceMessage, BlockMessage, CallMessage, DataExportMessage, FavoriteListChange,
    FavoritedByMessage, PhotoReviewMessage, ReversalMessage, ReviewMessage, WithdrawalMessage,
};

pub(super) fn reference(to: &str) -> Value {
    json!({"$ref": format!("#/{to}")})
}

/// A message as the document describes it.
pub(super) struct MessageDescription {
    /// The name of the component, which differs from the type where one type has several schemas.
    pub(super) id: &'static str,
    pub(super) r#type: &'static str,
    summary: &'static str,
    pub(super) data: MessageDataSchema,
}

/// The schema of `data`, and those that it refers to.
pub(super) struct MessageDataSchema {
    pub(super) name: String,
    pub(super) schemas: Vec<(String, RefOr<Schema>)>,
}

impl MessageDescription {
    fn new<T: ToSchema>(r#type: &'static str, summary: &'static str) -> Self {
        Self {
            id: r#type,
            r#type,
            summary,
            data: MessageDataSchema::of::<T>(),
        }
    }

    fn with_id(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    /// The name within the channel. Both sides send a `signal`, and its data differ.
    pub(super) fn key(&self) -> &'static str {
        if self.r#type == "signal" {
            self.id
        } else {
            self.r#type
        }
    }

    pub(super) fn is_sent_by_clients(&self) -> bool {
        matches!(
            self.id,
            "ping"
                | "heartbeat"
                | "subscribe"
                | "unsubscribe"
                | "ringing"
                | "join"
                | "signal"
                | "media"
                | "refresh"
                | "leave"
        )
    }

    pub(super) fn is_answer(&self) -> bool {
        matches!(
            self.r#type,
            "pong"
                | "heartbeat_response"
                | "subscribed"
                | "ringing_response"
                | "error"
                | "joined"
                | "media_state"
        )
    }

    fn required_fields(&self) -> &'static [&'static str] {
        match self.id {
            "ping" | "heartbeat" | "unsubscribe" => &["type"],
            "subscribe" | "ringing" | "join" | "signal" | "media" | "refresh" | "leave" => {
                &["type", "data"]
            }
            _ => &["type", "data", "timestamp", "seq"],
        }
    }

    pub(super) fn to_component(&self) -> Value {
        let mut properties = json!({
            "type": {"const": self.r#type},
            "data": reference(&format!("components/schemas/{}", self.data.name)),
            "timestamp": {"type": "string", "format": "date-time"},
        });
        if !self.is_sent_by_clients() {
            properties["seq"] = json!({"type": "integer", "format": "int64", "minimum": 0});
        }
        json!({
            "name": self.r#type,
            "summary": self.summary,
            "payload": {
                "type": "object",
                "required": self.required_fields(),
                "properties": properties,
            },
        })
    }
}

impl MessageDataSchema {
    fn of<T: ToSchema>() -> Self {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        Self {
            name: T::name().into_owned(),
            schemas,
        }
    }
}

/// Returns every message of a channel, from the gateway and from clients.
pub(super) fn all_messages(channel: SocketChannel) -> Vec<MessageDescription> {
    let mut messages = common_messages();
    if channel.is_public() {
        messages.extend(subscription_messages());
    }
    messages.push(snapshot_message(channel));
    messages.extend(match channel {
        SocketChannel::Feed => feed_messages(),
        SocketChannel::Presence => presence_messages(),
        SocketChannel::Calls => [
            ring_confirmation_messages(),
            call_messages(),
            media_messages(),
        ]
        .into_iter()
        .flatten()
        .collect(),
        SocketChannel::Notifications => notification_messages(),
    });
    messages
}

fn common_messages() -> Vec<MessageDescription> {
    vec![
        MessageDescription::new::<HelloMessage<'_>>(
            "hello",
            "The first message of every socket. It has the position at which the socket begins.",
        ),
        MessageDescription::new::<ErrorMessage<'_>>(
            "error",
            "The socket, or a message that the client sent, was refused.",
        ),
        MessageDescription::new::<EmptyMessage>(
            "ping",
            "A heartbeat. It keeps the user online and is answered with `pong`.",
        ),
        MessageDescription::new::<EmptyMessage>("pong", "The answer to `ping`."),
        MessageDescription::new::<EmptyMessage>(
            "heartbeat",
            "A heartbeat. It keeps the user online and is answered with `heartbeat_response`.",
        ),
        MessageDescription::new::<EmptyMessage>("heartbeat_response", "The answer to `heartbeat`."),
    ]
}

fn subscription_messages() -> Vec<MessageDescription> {
    vec![
        MessageDescription::new::<SubscriptionRequest>(
            "subscribe",
            "RateLimiter the socket to messages about these users, in addition to users of earlier \
             subscriptions. A socket may be subscribed to at most 1000 users.",
        ),
        MessageDescription::new::<SubscriptionRequest>(
            "unsubscribe",
            "Removes these users from the subscription; without data, all users. A socket without a \
             subscription receives messages about all users.",
        ),
        MessageDescription::new::<SubscribedUsers>(
            "subscribed",
            "The answer to `subscribe` and `unsubscribe`: the users of the subscription.",
        ),
    ]
}

fn snapshot_message(channel: SocketChannel) -> MessageDescription {
    let summary = "The current state, for a client that missed messages which are no longer kept.";
    match channel {
        SocketChannel::Feed | SocketChannel::Presence => {
            MessageDescription::new::<OnlineUsersSnapshot<'_>>("snapshot", summary)
                .with_id("snapshot_online_users")
        }
        SocketChannel::Calls => {
            MessageDescription::new::<CallSnapshot>("snapshot", summary).with_id("snapshot_call")
        }
        SocketChannel::Notifications => {
            MessageDescription::new::<NotificationsSnapshot>("snapshot", summary)
                .with_id("snapshot_notifications")
        }
    }
}

fn feed_messages() -> Vec<MessageDescription> {
    vec![
        MessageDescription::new::<Status<'_>>("listener_online", "A listener came online."),
        MessageDescription::new::<Status<'_>>(
            "listener_offline",
            "A listener went offline, or is not shown in the feed any more.",
        ),
        MessageDescription::new::<Status<'_>>(
            "listener_busy",
            "A listener is in a call, or takes no calls at the moment.",
        ),
        MessageDescription::new::<Status<'_>>(
            "listener_available",
            "A listener can be called again, or changed their wait time.",
        ),
    ]
}

fn presence_messages() -> Vec<MessageDescription> {
    vec![
        MessageDescription::new::<Status<'_>>("status_change", "A user's status changed."),
        MessageDescription::new::<Status<'_>>(
            "presence_update",
            "A user's status changed, as in `status_change`, or a user sent a heartbeat.",
        ),
    ]
}

fn ring_confirmation_messages() -> Vec<MessageDescription> {
    vec![
        MessageDescription::new::<RingConfirmation>(
            "ringing",
            "A device of the listener rings. Without such a confirmation the ring ends after some seconds.",
        ),
        MessageDescription::new::<RingResponse>(
            "ringing_response",
            "The answer to `ringing`: whether the device may go on ringing.",
        ),
    ]
}

fn media_messages() -> Vec<MessageDescription> {
    vec![
        MessageDescription::new::<JoinMessage>(
            "join",
            "Takes a seat in a call that the platform carries, for this socket. It is answered with `joined`.",
        ),
        MessageDescription::new::<JoinedMessage>(
            "joined",
            "The answer to `join` and `refresh`: the seat, and the relays that the app uses.",
        ),
        MessageDescription::new::<SignalMessage>(
            "signal",
            "A description or candidates for the other party. It has no answer unless it is refused.",
        ),
        MessageDescription::new::<PeerSignalMessage>(
            "signal",
            "A description or candidates of the other party, without addresses of their device.",
        )
        .with_id("peer_signal"),
        MessageDescription::new::<MediaMessage>(
            "media",
            "The connection of the app, at every change and every `report_every_secs`. It is answered with \
             `media_state`.",
        ),
        MessageDescription::new::<MediaStateMessage>(
            "media_state",
            "The state of the media of a call, as an answer and when it changes.",
        ),
        MessageDescription::new::<SeatRef>(
            "refresh",
            "Asks for new credentials, with which the app restarts ICE. It is answered with `joined`.",
        ),
        MessageDescription::new::<SeatRef>(
            "leave",
            "Gives the seat up. The call goes on, and the message has no answer.",
        ),
        MessageDescription::new::<PeerSeatMessage>(
            "peer_joined",
            "The other party has taken a seat, or taken it anew: the app offers again.",
        ),
        MessageDescription::new::<PeerSeatMessage>(
            "peer_left",
            "The other party has given its seat up.",
        ),
        MessageDescription::new::<SeatTakenMessage>(
            "seat_taken",
            "Another device of the user has taken the seat: the app closes its connection.",
        ),
    ]
}

pub(super) fn call_messages() -> Vec<MessageDescription> {
    vec![
        MessageDescription::new::<RingMessage<'_>>(
            "call_ringing",
            "A call rings. Nothing is paid before the listener accepts it.",
        ),
        MessageDescription::new::<RingMessage<'_>>(
            "call_reached",
            "A device of the listener rings. Only the caller receives it.",
        ),
        MessageDescription::new::<RingMessage<'_>>(
            "call_accepted",
            "The listener has accepted a call. Its other devices stop ringing.",
        ),
        MessageDescription::new::<RingMessage<'_>>(
            "call_unanswered",
            "A ring has ended without a call, and nothing was paid.",
        ),
        MessageDescription::new::<CallMessage<'_>>(
            "call_started",
            "A call began, and its first minute was charged.",
        ),
        MessageDescription::new::<CallMessage<'_>>("call_billing", "A minute was charged."),
        MessageDescription::new::<CallMessage<'_>>(
            "call_low_balance",
            "The caller's coins do not cover the next minute.",
        ),
        MessageDescription::new::<CallMessage<'_>>("call_ended", "A call ended."),
    ]
}

pub(super) fn notification_messages() -> Vec<MessageDescription> {
    vec![
        MessageDescription::new::<FavoritedByMessage<'_>>(
            "favorite_added",
            "A user added the current listener to their favourites.",
        ),
        MessageDescription::new::<FavoritedByMessage<'_>>(
            "favorite_removed",
            "A user removed the current listener from their favourites.",
        ),
        MessageDescription::new::<FavoriteListChange>(
            "favorites_changed",
            "The current user's list of favourites changed.",
        ),
        MessageDescription::new::<BlockMessage<'_>>(
            "user_blocked",
            "The current user blocked a user.",
        ),
        MessageDescription::new::<BlockMessage<'_>>(
            "user_unblocked",
            "The current user unblocked a user.",
        ),
        MessageDescription::new::<CallsPausedMessage<'_>>(
            "calls_paused",
            "Several rings in a row went unanswered, so the current listener takes no calls until they say \
             otherwise.",
        ),
        MessageDescription::new::<ReviewMessage<'_>>(
            "verification_reviewed",
            "The current listener's verification was decided or revoked.",
        ),
        MessageDescription::new::<PhotoReviewMessage<'_>>(
            "photo_reviewed",
            "A photo of the current user was reviewed.",
        ),
        MessageDescription::new::<DataExportMessage>(
            "data_export_ready",
            "The current user's export can be fetched.",
        ),
        MessageDescription::new::<WithdrawalMessage<'_>>(
            "withdrawal_updated",
            "The status of one of the current user's withdrawals changed.",
        ),
        MessageDescription::new::<BalanceMessage>(
            "low_balance",
            "The current user's coins are running out.",
        ),
        MessageDescription::new::<ReversalMessage<'_>>(
            "payment_reversed",
            "A payment of the current user was refunded or charged back.",
        ),
    ]
}
