//! The AsyncAPI document: what goes over each channel, both ways, and how sockets close.
//!
//! The tables here name the messages; what their `data` holds is said by the types that are sent. The
//! document is served at `/asyncapi.json`; `docs/asyncapi.json` is its committed copy.

use axum::extract::ws::close_code;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

use super::channel::Channel;
use super::letters::{
    Balance, Block, Favorite, FavoriteOf, OfCall, OfWithdrawal, Reversal, Review,
};
use super::message::{Empty, Failure, Hello, Status, Subscribed, Subscription};
use super::snapshot::{Nothing, OwnCall, People};
use super::socket::{
    AUTH_FAILED, MESSAGE_BYTES_MAX, MESSAGES_A_SECOND_MAX, PERMISSION_DENIED, TOO_MUCH, TOO_SLOW,
};
use crate::openapi::Document;

const ABOUT: &str = "What happens on the platform, as it happens.\n\n\
    Every message has `type`, `data` and `timestamp`; the gateway's also have `seq`, which never falls \
    within a socket, but for the error before a close, where it is 0. The first message is `hello`. Who comes back with `since` and `epoch` is told what was \
    missed, or gets a `snapshot` when that is no longer kept. A client ignores types that it does not \
    know. Coins are whole numbers, rupees have at most two decimals, times are RFC 3339 in UTC.";

/// A kind of message.
struct Message {
    /// Its name in the document, where one type is of several kinds.
    id: &'static str,
    r#type: &'static str,
    about: &'static str,
    data: Data,
}

/// The schema of `data`, and those that it refers to.
struct Data {
    name: String,
    schemas: Vec<(String, RefOr<Schema>)>,
}

/// How a socket closes: code, reasons, what to do.
const CLOSES: [(u16, &[&str], &str); 7] = [
    (
        close_code::SIZE,
        &["MESSAGE_TOO_LARGE"],
        "Send shorter messages.",
    ),
    (
        close_code::RESTART,
        &["RESTARTING"],
        "Connect again at once, to another replica.",
    ),
    (close_code::AGAIN, &["TRY_AGAIN"], "Connect again later."),
    (
        AUTH_FAILED,
        &["AUTH_FAILED"],
        "Refresh the token, then connect again.",
    ),
    (
        PERMISSION_DENIED,
        &["PERMISSION_DENIED"],
        "Do not connect again.",
    ),
    (
        TOO_SLOW,
        &["TOO_SLOW"],
        "Connect again with `since` and `epoch`.",
    ),
    (
        TOO_MUCH,
        &["CONNECTION_LIMIT", "RATE_LIMITED"],
        "Wait, then connect again.",
    ),
];

/// The document.
pub fn document() -> Document {
    let mut messages = Map::new();
    let mut schemas = Map::new();
    for message in Channel::ALL.into_iter().flat_map(all) {
        messages.insert(message.id.to_owned(), message.described());
        for (name, schema) in message.data.schemas {
            schemas.insert(name, value(&schema));
        }
    }
    Document::whole(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Talktime sockets",
            "version": "1",
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": by_name(channel),
        "operations": operations(),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"access_token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "An access token in the `Authorization` header, after `bearer` in \
                    `Sec-WebSocket-Protocol`, or in the query.",
            }},
        },
        "x-close-codes": closes(),
        "x-limits": {
            "message_bytes_max": MESSAGE_BYTES_MAX,
            "messages_a_second_max": MESSAGES_A_SECOND_MAX,
        },
    }))
}

impl Message {
    fn new<T: ToSchema>(r#type: &'static str, about: &'static str) -> Self {
        Self {
            id: r#type,
            r#type,
            about,
            data: Data::of::<T>(),
        }
    }

    fn called(self, id: &'static str) -> Self {
        Self { id, ..self }
    }

    fn is_sent_by_clients(&self) -> bool {
        matches!(
            self.r#type,
            "ping" | "heartbeat" | "subscribe" | "unsubscribe"
        )
    }

    fn required(&self) -> &'static [&'static str] {
        match self.r#type {
            "ping" | "heartbeat" | "unsubscribe" => &["type"],
            "subscribe" => &["type", "data"],
            _ => &["type", "data", "timestamp", "seq"],
        }
    }

    fn described(&self) -> Value {
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
            "summary": self.about,
            "payload": {"type": "object", "required": self.required(), "properties": properties},
        })
    }
}

impl Data {
    fn of<T: ToSchema>() -> Self {
        let mut schemas = vec![(T::name().into_owned(), T::schema())];
        T::schemas(&mut schemas);
        Self {
            name: T::name().into_owned(),
            schemas,
        }
    }
}

/// Every message of a channel, both ways.
fn all(channel: Channel) -> Vec<Message> {
    let mut messages = common();
    if channel.is_public() {
        messages.extend(choosing());
    }
    messages.push(snapshot(channel));
    messages.extend(match channel {
        Channel::Feed => feed(),
        Channel::Presence => presence(),
        Channel::Calls => calls(),
        Channel::Notifications => notifications(),
    });
    messages
}

fn common() -> Vec<Message> {
    vec![
        Message::new::<Hello<'_>>("hello", "The first message of every socket."),
        Message::new::<Failure<'_>>(
            "error",
            "What is wrong with the socket or with a message to it.",
        ),
        Message::new::<Empty>("ping", "A sign of life; it keeps its sender online."),
        Message::new::<Empty>("pong", "The answer to a ping."),
        Message::new::<Empty>("heartbeat", "The same as a ping."),
        Message::new::<Empty>("heartbeat_response", "The answer to a heartbeat."),
    ]
}

fn choosing() -> Vec<Message> {
    vec![
        Message::new::<Subscription>(
            "subscribe",
            "Narrows the socket to these people, besides those chosen before.",
        ),
        Message::new::<Subscription>(
            "unsubscribe",
            "Takes these people back; without data, all of them.",
        ),
        Message::new::<Subscribed>("subscribed", "Of whom the socket hears from now on."),
    ]
}

fn snapshot(channel: Channel) -> Message {
    let about = "How things stand, for a client that has missed more than is kept.";
    match channel {
        Channel::Feed | Channel::Presence => {
            Message::new::<People<'_>>("snapshot", about).called("snapshot_people")
        }
        Channel::Calls => Message::new::<OwnCall>("snapshot", about).called("snapshot_call"),
        Channel::Notifications => {
            Message::new::<Nothing>("snapshot", about).called("snapshot_nothing")
        }
    }
}

fn feed() -> Vec<Message> {
    vec![
        Message::new::<Status<'_>>("listener_online", "A listener came online."),
        Message::new::<Status<'_>>(
            "listener_offline",
            "A listener went offline, or is none any more.",
        ),
        Message::new::<Status<'_>>("listener_busy", "A listener is in a call."),
        Message::new::<Status<'_>>(
            "listener_available",
            "A listener can be called, or has another wait time.",
        ),
    ]
}

fn presence() -> Vec<Message> {
    vec![
        Message::new::<Status<'_>>("status_change", "Somebody's status changed."),
        Message::new::<Status<'_>>(
            "presence_update",
            "The same change once more, or a sign of life with the status being what it was.",
        ),
    ]
}

fn calls() -> Vec<Message> {
    vec![
        Message::new::<OfCall<'_>>("call_started", "A call began; its first minute is paid."),
        Message::new::<OfCall<'_>>("call_billing", "A minute was paid."),
        Message::new::<OfCall<'_>>(
            "call_low_balance",
            "The caller's coins do not last for the next minute.",
        ),
        Message::new::<OfCall<'_>>("call_ended", "A call ended."),
    ]
}

fn notifications() -> Vec<Message> {
    vec![
        Message::new::<FavoriteOf<'_>>("favorite_added", "Somebody has made one a favourite."),
        Message::new::<FavoriteOf<'_>>(
            "favorite_removed",
            "One is no longer somebody's favourite.",
        ),
        Message::new::<Favorite>("favorites_changed", "One's own list of favourites changed."),
        Message::new::<Block<'_>>("user_blocked", "One keeps somebody away."),
        Message::new::<Block<'_>>("user_unblocked", "One keeps somebody away no longer."),
        Message::new::<Review<'_>>("verification_reviewed", "One's verification was decided."),
        Message::new::<OfWithdrawal<'_>>("withdrawal_updated", "One's withdrawal went on."),
        Message::new::<Balance>("low_balance", "One's coins run out."),
        Message::new::<Reversal<'_>>("payment_reversed", "One's payment was taken back."),
    ]
}

fn about(channel: Channel) -> &'static str {
    match channel {
        Channel::Feed => "Listeners, as they come, go and take calls.",
        Channel::Presence => "Everybody's statuses, as they change.",
        Channel::Calls => "One's own calls: both parties hear of each minute.",
        Channel::Notifications => "What happens to oneself: lists, standing, money.",
    }
}

fn by_name(describe: fn(Channel) -> Value) -> Value {
    let channels = Channel::ALL.into_iter();
    channels
        .map(|channel| (channel.name().to_owned(), describe(channel)))
        .collect()
}

fn channel(channel: Channel) -> Value {
    let messages = all(channel).into_iter().map(|message| {
        let component = format!("components/messages/{}", message.id);
        (message.r#type.to_owned(), reference(&component))
    });
    json!({
        "address": format!("/ws/{}", channel.name()),
        "description": about(channel),
        "messages": messages.collect::<Map<_, _>>(),
        "bindings": {"ws": {"bindingVersion": "0.1.0", "method": "GET", "query": query()}},
    })
}

fn query() -> Value {
    json!({
        "type": "object",
        "properties": {
            "token": {"type": "string", "description": "The access token, if no header has it."},
            "since": {
                "type": "integer",
                "format": "int64",
                "minimum": 0,
                "description": "The `seq` of the last message that one has.",
            },
            "epoch": {"type": "string", "description": "The `epoch` of the hello before it."},
            "changes": {
                "type": "string",
                "enum": ["status_change", "presence_update"],
                "description": "On presence, the only form of each change; both without it.",
            },
        },
    })
}

/// What the gateway sends on each channel, and what it takes there.
fn operations() -> Value {
    let operations = Channel::ALL.into_iter().flat_map(|channel| {
        let name = channel.name();
        let (received, sent): (Vec<_>, Vec<_>) = all(channel)
            .into_iter()
            .partition(Message::is_sent_by_clients);
        let mut receive = operation(channel, "receive", &received);
        let is_answer = |message: &Message| {
            matches!(
                message.r#type,
                "pong" | "heartbeat_response" | "subscribed" | "error"
            )
        };
        let answers = sent.iter().filter(|message| is_answer(message));
        receive["reply"] = json!({
            "channel": reference(&format!("channels/{name}")),
            "messages": references(channel, answers),
        });
        [
            (format!("{name}_send"), operation(channel, "send", &sent)),
            (format!("{name}_receive"), receive),
        ]
    });
    operations.collect()
}

fn operation(channel: Channel, action: &str, messages: &[Message]) -> Value {
    json!({
        "action": action,
        "channel": reference(&format!("channels/{}", channel.name())),
        "messages": references(channel, messages),
        "security": [reference("components/securitySchemes/access_token")],
    })
}

fn references<'a>(channel: Channel, messages: impl IntoIterator<Item = &'a Message>) -> Value {
    let messages = messages.into_iter().map(|message| {
        let name = channel.name();
        reference(&format!("channels/{name}/messages/{}", message.r#type))
    });
    messages.collect()
}

fn closes() -> Value {
    let closes = CLOSES.into_iter().map(|(code, reasons, what_to_do)| {
        let close = json!({"reasons": reasons, "what_to_do": what_to_do});
        (code.to_string(), close)
    });
    closes.collect()
}

fn reference(to: &str) -> Value {
    json!({"$ref": format!("#/{to}")})
}

fn value(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).expect("a schema is JSON")
}

#[cfg(test)]
mod tests;
