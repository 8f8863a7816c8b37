//! That each message is described as it is written.

use std::collections::BTreeSet;

use prost::Message as _;
use prost::encoding::{WireType, encode_key, encode_varint};
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use super::super::letters::letters_of;
use super::*;

/// Fields of an event have no higher numbers.
const FIELDS_MAX: u32 = 1_000;

/// An event of every kind that there is: a field of the message is enough to make one. All are empty, but
/// for the name without which a listener hears of no list.
fn events() -> impl Iterator<Item = Event> {
    (1..=FIELDS_MAX).filter_map(|field| {
        let mut bytes = Vec::new();
        encode_key(field, WireType::LengthDelimited, &mut bytes);
        encode_varint(0, &mut bytes);
        // Not every field is a message; and of those that are, not every one is a kind.
        let mut event = Event::decode(bytes.as_slice()).ok()?;
        match event.kind.as_mut()? {
            Kind::FavoriteAdded(added) => added.username = "asha".to_owned(),
            Kind::FavoriteRemoved(removed) => removed.username = "asha".to_owned(),
            _ => {}
        }
        Some(event)
    })
}

/// Fails unless the channel has this message, and the message all fields that it must and no
/// other.
fn check(document: &Value, channel: Channel, message: &Value) {
    let kinds = all(channel).into_iter();
    let mut kinds = kinds.filter(|kind| message["type"] == kind.r#type);
    let kind = kinds.next().expect("a kind that is described");
    let schema = &document["components"]["schemas"][&kind.data.name];
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
fn letters_are_what_the_document_says() {
    let document = document();
    let mut written = BTreeSet::new();
    for letter in events().flat_map(|event| letters_of(&event, 1)) {
        let message: Value = serde_json::from_str(&letter.text).expect("JSON");
        check(document.json(), letter.channel, &message);
        let r#type = message["type"].as_str().expect("a type");
        written.insert((letter.channel.name(), r#type.to_owned()));
    }
    let of_channel = |channel: Channel, messages: Vec<Message>| {
        let types = messages
            .into_iter()
            .map(|message| message.r#type.to_owned());
        types.map(move |r#type| (channel.name(), r#type))
    };
    let described = of_channel(Channel::Calls, calls());
    let described = described.chain(of_channel(Channel::Notifications, notifications()));
    assert_eq!(
        written,
        described.collect(),
        "each that is described is written"
    );
}
