//! The AsyncAPI document: the messages of each channel in both directions, and the close codes of sockets.
//!
//! The document is served at `/asyncapi.json`; `docs/asyncapi.json` is its committed copy. The schemas of `data`
//! come from the types that are sent.

mod messages;

use axum::extract::ws::close_code;
use serde_json::{Map, Value, json};
use utoipa::openapi::{RefOr, Schema};

use self::messages::{MessageDescription, all_messages, reference};
use super::channel::SocketChannel;
use super::client_message::{MESSAGE_BYTES_MAX, MESSAGES_A_SECOND_MAX};
use super::close::{AUTH_FAILED, PERMISSION_DENIED, TOO_MANY, TOO_SLOW};
use crate::openapi::ApiDocument;

const DESCRIPTION: &str = "Clients receive what happens on the platform as it happens.\n\n\
    Every message has `type`, `data` and `timestamp`. Messages of the gateway also have `seq`, which never \
    decreases within a socket, except in the error before a close, where it is 0. The first message is `hello`.\n\n\
    A client that connects again sends the `epoch` of the last `hello` and, as `since`, the `seq` of the last \
    message that it has. It receives the messages that it missed, or a `snapshot` when they are no longer kept.\n\n\
    A client ignores messages of unknown types. Coins are whole numbers, rupees have at most two decimals, \
    times are RFC 3339 in UTC.";

/// How a socket closes: the code, the reasons, and what the client should do.
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
        TOO_MANY,
        &["CONNECTION_LIMIT", "RATE_LIMITED"],
        "Wait, then connect again.",
    ),
];

/// Builds the document.
pub fn document() -> ApiDocument {
    let mut messages = Map::new();
    let mut schemas = Map::new();
    for message in SocketChannel::ALL.into_iter().flat_map(all_messages) {
        messages.insert(message.id.to_owned(), message.to_component());
        for (name, schema) in message.data.schemas {
            schemas.insert(name, to_json(&schema));
        }
    }
    ApiDocument::from_complete(json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Talktime sockets",
            "version": "1",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": channels(),
        "operations": operations(),
        "components": {
            "messages": messages,
            "schemas": schemas,
            "securitySchemes": {"access_token": {
                "type": "http",
                "scheme": "bearer",
                "bearerFormat": "JWT",
                "description": "An access token in the `Authorization` header, after `bearer` in \
                    `Sec-WebSocket-Protocol`, or in the query, if the operator accepts it there; or a ticket in the \
                    query.",
            }},
        },
        "x-close-codes": close_codes(),
        "x-limits": {
            "message_bytes_max": MESSAGE_BYTES_MAX,
            "messages_a_second_max": MESSAGES_A_SECOND_MAX,
        },
    }))
}

fn channels() -> Value {
    let channels = SocketChannel::ALL.into_iter();
    channels
        .map(|channel| (channel.name().to_owned(), describe_channel(channel)))
        .collect()
}

fn describe_channel(channel: SocketChannel) -> Value {
    let messages = all_messages(channel).into_iter().map(|message| {
        let component = format!("components/messages/{}", message.id);
        (message.key().to_owned(), reference(&component))
    });
    json!({
        "address": format!("/ws/{}", channel.name()),
        "description": channel_description(channel),
        "messages": messages.collect::<Map<_, _>>(),
        "bindings": {"ws": {"bindingVersion": "0.1.0", "method": "GET", "query": query_schema()}},
    })
}

fn channel_description(channel: SocketChannel) -> &'static str {
    match channel {
        SocketChannel::Feed => {
            "Listeners who come online, go offline, and become busy or available again."
        }
        SocketChannel::Presence => "Changes of all users' statuses.",
        SocketChannel::Calls => {
            "The calls of the current user, from the ring on. Both parties receive a message about each minute."
        }
        SocketChannel::Notifications => {
            "Changes that concern only the current user: favourites, blocks, verification and money."
        }
    }
}

fn query_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "token": {
                "type": "string",
                "description": "The access token, if it is not sent in a header.",
            },
            "ticket": {
                "type": "string",
                "description": "A ticket from `POST /ws/ticket`, which opens one socket within 30 seconds.",
            },
            "since": {
                "type": "integer",
                "format": "int64",
                "minimum": 0,
                "description": "The `seq` of the last message that the client has.",
            },
            "epoch": {
                "type": "string",
                "description": "The `epoch` of the `hello` before that message.",
            },
            "changes": {
                "type": "string",
                "enum": ["status_change", "presence_update"],
                "description": "The type of message in which `/ws/presence` sends each change. By default it \
                    sends both.",
            },
        },
    })
}

/// Describes the messages that the gateway sends and receives on each channel.
fn operations() -> Value {
    let operations = SocketChannel::ALL.into_iter().flat_map(|channel| {
        let name = channel.name();
        let (received, sent): (Vec<_>, Vec<_>) = all_messages(channel)
            .into_iter()
            .partition(MessageDescription::is_sent_by_clients);
        let mut receive = describe_operation(channel, "receive", &received);
        let answers = sent.iter().filter(|message| message.is_answer());
        receive["reply"] = json!({
            "channel": reference(&format!("channels/{name}")),
            "messages": message_references(channel, answers),
        });
        let send = describe_operation(channel, "send", &sent);
        [
            (format!("{name}_send"), send),
            (format!("{name}_receive"), receive),
        ]
    });
    operations.collect()
}

fn describe_operation(
    channel: SocketChannel,
    action: &str,
    messages: &[MessageDescription],
) -> Value {
    json!({
        "action": action,
        "channel": reference(&format!("channels/{}", channel.name())),
        "messages": message_references(channel, messages),
        "security": [reference("components/securitySchemes/access_token")],
    })
}

fn message_references<'a>(
    channel: SocketChannel,
    messages: impl IntoIterator<Item = &'a MessageDescription>,
) -> Value {
    let messages = messages.into_iter().map(|message| {
        let name = channel.name();
        reference(&format!("channels/{name}/messages/{}", message.key()))
    });
    messages.collect()
}

fn close_codes() -> Value {
    let closes = CLOSES.into_iter().map(|(code, reasons, what_to_do)| {
        let close = json!({"reasons": reasons, "what_to_do": what_to_do});
        (code.to_string(), close)
    });
    closes.collect()
}

fn to_json(schema: &RefOr<Schema>) -> Value {
    serde_json::to_value(schema).expect("a schema is JSON")
}

#[cfg(test)]
mod tests;
