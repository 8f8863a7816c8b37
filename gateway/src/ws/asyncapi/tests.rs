//! Compares the messages that are written with their descriptions.

use std::collections::BTreeSet;

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use super::super::user_messages::user_messages;
use super::messages::{call_messages, notification_messages};
use super::*;

/// No field of an event has a higher number.
const FIELDS_MAX: u32 = 1_000;

/// Returns an event of every kind. All are empty, except for the user name without which a listener is not
/// notified.
fn events() -> impl Iterator<Item = Event> {
    (1..=FIELDS_MAX).filter_map(|field| {
        let mut bytes = Vec::new();
        encode_key(field, WireType::LengthDelimited, &mut bytes);
        encode_varint(0, &mut bytes);
        // Some fields are not messages, and some messages are not kinds of events.
        let mut event = Event::decode(bytes.as_slice()).ok()?;
        match event.kind.as_mut()? {
            Kind::FavoriteAdded(added) => added.username = "asha".to_owned(),
            Kind::FavoriteRemoved(removed) => removed.username = "asha".to_owned(),
            _ => {}
        }
        Some(event)
    })
}

/// Fails unless the document describes this message with exactly its fields.
fn check(document: &Value, channel: SocketChannel, message: &Value) {
    let descriptions = all_messages(channel).into_iter();
    let mut descriptions = descriptions.filter(|one| message["type"] == one.r#type);
    let description = descriptions.next().expect("the message is described");
    let schema = &document["components"]["schemas"][&description.data.name];
    let data = message["data"].as_object().expect("data");
    for name in data.keys() {
        assert!(schema["properties"][name].is_object(), "{name}: {message}");
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        let name = name.as_str().expect("a name");
        assert!(data.contains_key(name), "{name}: {message}");
    }
}

#[test]
fn user_messages_match_the_document() {
    let document = document();
    let mut written = BTreeSet::new();
    for message in events().flat_map(|event| user_messages(&event, 1)) {
        let text: Value = serde_json::from_str(&message.text).expect("JSON");
        check(document.json(), message.channel, &text);
        let r#type = text["type"].as_str().expect("a type");
        written.insert((message.channel.name(), r#type.to_owned()));
    }
    let described_types = |channel: SocketChannel, messages: Vec<MessageDescription>| {
        let types = messages
            .into_iter()
            .map(|message| message.r#type.to_owned());
        types.map(move |r#type| (channel.name(), r#type))
    };
    let described = described_types(SocketChannel::Calls, call_messages());
    let described = described.chain(described_types(
        SocketChannel::Notifications,
        notification_messages(),
    ));
    assert_eq!(
        written,
        described.collect(),
        "every described message is written"
    );
}
