//! The messages that events about calls that ring cause.

use talktime_proto::calls::call_uuid;
use talktime_proto::datetime;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallAccepted, CallReached, CallRinging, CallUnanswered};

use super::channel::SocketChannel;
use super::ring_message_data::{CallsPausedMessage, RingMessage};
use super::user_messages::UserMessageWriter;
use crate::peer_profiles::PeerAnswer;

impl UserMessageWriter {
    pub(super) fn write_ring(&mut self, kind: &Kind) {
        match kind {
            Kind::CallRinging(call) => self.write_ringing(call),
            Kind::CallReached(call) => self.write_reached(call),
            Kind::CallAccepted(call) => self.write_accepted(call),
            Kind::CallUnanswered(call) => self.write_unanswered(call),
            Kind::CallsPaused(paused) => {
                let data = CallsPausedMessage::from(paused);
                self.notify(paused.listener_id, "calls_paused", data);
            }
            _ => {}
        }
    }

    fn write_ringing(&mut self, call: &CallRinging) {
        for (user_id, direction, peer) in [
            (call.user_id, "outgoing", &call.listener),
            (call.listener_id, "incoming", &call.caller),
        ] {
            let message = RingMessage {
                media: Some(&call.media),
                direction: Some(direction),
                expires_at: datetime(call.expires_at.as_ref()),
                peer: peer.as_ref().map(PeerAnswer::from),
                ..ring_message(
                    call.call_id,
                    call.user_id,
                    call.listener_id,
                    &call.call_type,
                    "ringing",
                )
            };
            self.write(SocketChannel::Calls, user_id, "call_ringing", message);
        }
    }

    fn write_reached(&mut self, call: &CallReached) {
        let (call_id, user_id) = (call.call_id, call.user_id);
        let message = ring_message(
            call_id,
            user_id,
            call.listener_id,
            &call.call_type,
            "ringing",
        );
        self.write(SocketChannel::Calls, call.user_id, "call_reached", message);
    }

    fn write_accepted(&mut self, call: &CallAccepted) {
        for (user_id, accepted_session_id) in [
            (call.user_id, None),
            (call.listener_id, Some(call.accepted_session_id.as_str())),
        ] {
            let message = RingMessage {
                media: Some(&call.media),
                accepted_at: datetime(call.accepted_at.as_ref()),
                accepted_session_id,
                ..ring_message(
                    call.call_id,
                    call.user_id,
                    call.listener_id,
                    &call.call_type,
                    &call.status,
                )
            };
            self.write(SocketChannel::Calls, user_id, "call_accepted", message);
        }
    }

    fn write_unanswered(&mut self, call: &CallUnanswered) {
        for user_id in [call.user_id, call.listener_id] {
            let message = RingMessage {
                outcome: Some(&call.outcome),
                reason: Some(&call.reason),
                ended_by: Some(&call.ended_by),
                rung_seconds: Some(call.rung_seconds),
                ..ring_message(
                    call.call_id,
                    call.user_id,
                    call.listener_id,
                    &call.call_type,
                    "unanswered",
                )
            };
            self.write(SocketChannel::Calls, user_id, "call_unanswered", message);
        }
    }
}

/// Returns the fields that every message about a ring has.
fn ring_message<'a>(
    call_id: i64,
    user_id: i64,
    listener_id: i64,
    call_type: &'a str,
    status: &'a str,
) -> RingMessage<'a> {
    RingMessage {
        call_id,
        call_uuid: call_uuid(call_id),
        user_id,
        listener_id,
        call_type,
        status,
        ..RingMessage::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use talktime_proto::events::v1::CallPeer;

    use super::super::user_messages::tests::messages_of;
    use super::*;

    fn peer(user_id: i64, username: &str) -> CallPeer {
        CallPeer {
            user_id,
            username: username.to_owned(),
            profile_image_url: None,
            rating_hundredths: Some(450),
        }
    }

    #[test]
    fn each_party_of_a_ring_sees_the_other() {
        let messages = messages_of(Kind::CallRinging(CallRinging {
            call_id: 7,
            user_id: 1,
            listener_id: 2,
            call_type: "audio".to_owned(),
            media: "own".to_owned(),
            expires_at: None,
            caller: Some(peer(1, "ravi")),
            listener: Some(peer(2, "asha")),
        }));
        let expected = |direction: &str, user_id: i64, username: &str| {
            json!({
                "call_id": 7, "call_uuid": call_uuid(7).to_string(), "user_id": 1, "listener_id": 2,
                "call_type": "audio", "status": "ringing", "media": "own", "direction": direction,
                "peer": {"user_id": user_id, "username": username, "profile_image_url": null,
                         "rating": 4.5},
            })
        };
        assert_eq!(messages.len(), 2);
        assert!(
            messages
                .iter()
                .all(|message| message.channel == SocketChannel::Calls)
        );
        assert_eq!(messages[0].user_id, 1);
        assert_eq!(messages[0].body["type"], "call_ringing");
        assert_eq!(messages[0].body["data"], expected("outgoing", 2, "asha"));
        assert_eq!(messages[1].user_id, 2);
        assert_eq!(messages[1].body["data"], expected("incoming", 1, "ravi"));
    }

    #[test]
    fn only_the_listener_learns_which_session_has_accepted() {
        let messages = messages_of(Kind::CallAccepted(CallAccepted {
            call_id: 7,
            user_id: 1,
            listener_id: 2,
            accepted_session_id: "s".to_owned(),
            status: "ongoing".to_owned(),
            ..CallAccepted::default()
        }));
        assert_eq!(messages[0].body["data"].get("accepted_session_id"), None);
        assert_eq!(messages[1].body["data"]["accepted_session_id"], "s");
    }
}
