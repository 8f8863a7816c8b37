//! The messages to single users that an event causes: on `/ws/calls` to both parties of a call, on
//! `/ws/notifications` to the user that the change concerns.

use axum::extract::ws::Utf8Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_proto::calls::call_uuid;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallEnded, Event, PaymentReversed, WithdrawalUpdated};

use super::channel::SocketChannel;
use super::message::OutgoingMessage;
use super::user_message_data::{
    BalanceMessage, BlockMessage, CallMessage, DataExportMessage, FavoriteListChange,
    FavoritedByMessage, PhotoReviewMessage, ReversalMessage, ReviewMessage, WithdrawalMessage,
};
use crate::number::Hundredths;

/// A message to one user.
#[derive(Debug)]
pub(super) struct UserMessage {
    pub(super) channel: SocketChannel,
    pub(super) user_id: i64,
    pub(super) text: Utf8Bytes,
}

/// Writes the messages of one event.
pub(super) struct UserMessageWriter {
    happened_at: DateTime<Utc>,
    seq: u64,
    messages: Vec<UserMessage>,
}

/// Returns the messages that an event causes, all with the number `seq`.
pub(super) fn user_messages(event: &Event, seq: u64) -> Vec<UserMessage> {
    let happened_at = talktime_proto::datetime(event.happened_at.as_ref());
    let mut writer = UserMessageWriter {
        happened_at: happened_at.unwrap_or_default(),
        seq,
        messages: Vec::new(),
    };
    if let Some(kind) = &event.kind {
        writer.write_call(kind);
        writer.write_ring(kind);
        writer.write_list_change(kind);
        writer.write_verification(kind);
        writer.write_photo_review(kind);
        writer.write_export_ready(kind);
        writer.write_money(kind);
    }
    writer.messages
}

impl UserMessageWriter {
    pub(super) fn write(
        &mut self,
        channel: SocketChannel,
        user_id: i64,
        r#type: &str,
        data: impl Serialize,
    ) {
        let text = OutgoingMessage {
            r#type,
            data,
            timestamp: self.happened_at,
            seq: self.seq,
        }
        .to_text();
        self.messages.push(UserMessage {
            channel,
            user_id,
            text,
        });
    }

    pub(super) fn notify(&mut self, user_id: i64, r#type: &str, data: impl Serialize) {
        self.write(SocketChannel::Notifications, user_id, r#type, data);
    }

    fn notify_parties(&mut self, r#type: &str, call: CallMessage<'_>) {
        self.write(SocketChannel::Calls, call.user_id, r#type, call);
        self.write(
            SocketChannel::Calls,
            call.listener_id,
            r#type,
            call.for_listener(),
        );
    }

    fn write_call(&mut self, kind: &Kind) {
        match kind {
            Kind::CallStarted(call) => {
                let (call_id, user_id) = (call.call_id, call.user_id);
                let message = CallMessage {
                    minute: Some(1),
                    coins_spent: Some(call.coins_spent),
                    remaining_coins: Some(call.remaining_coins),
                    ..CallMessage::ongoing(call_id, user_id, call.listener_id, &call.call_type)
                };
                self.notify_parties("call_started", message);
            }
            Kind::MinuteBilled(call) => {
                let (call_id, user_id) = (call.call_id, call.user_id);
                let message = CallMessage {
                    minute: Some(call.minute),
                    coins_spent: Some(call.coins_spent),
                    remaining_coins: Some(call.remaining_coins),
                    ..CallMessage::ongoing(call_id, user_id, call.listener_id, &call.call_type)
                };
                self.notify_parties("call_billing", message);
            }
            Kind::CallLowBalance(call) => {
                let (call_id, user_id) = (call.call_id, call.user_id);
                let message = CallMessage {
                    minute: Some(call.minute),
                    coins_spent: Some(call.coins_spent),
                    remaining_coins: Some(call.remaining_coins),
                    ..CallMessage::ongoing(call_id, user_id, call.listener_id, &call.call_type)
                };
                self.notify_parties("call_low_balance", message);
            }
            Kind::CallEnded(call) => self.write_call_ended(call),
            _ => {}
        }
    }

    fn write_call_ended(&mut self, call: &CallEnded) {
        let message = CallMessage {
            call_id: call.call_id,
            call_uuid: call_uuid(call.call_id),
            user_id: call.user_id,
            listener_id: call.listener_id,
            call_type: &call.call_type,
            status: &call.status,
            coins_spent: Some(call.coins_spent),
            remaining_coins: call.remaining_coins,
            minute: Some(call.duration_minutes),
            duration_seconds: Some(call.duration_seconds),
            listener_money_earned: Some(Hundredths(call.listener_paise_earned)),
            end_reason: non_empty(&call.end_reason),
            ended_by: non_empty(&call.ended_by),
        };
        self.notify_parties("call_ended", message);
    }

    fn write_list_change(&mut self, kind: &Kind) {
        match kind {
            Kind::FavoriteAdded(favorite) => self.write_favorite(FavoritedByMessage {
                user_id: favorite.user_id,
                username: &favorite.username,
                action: "added",
                listener_id: favorite.listener_id,
                is_favorited: true,
            }),
            Kind::FavoriteRemoved(favorite) => self.write_favorite(FavoritedByMessage {
                user_id: favorite.user_id,
                username: &favorite.username,
                action: "removed",
                listener_id: favorite.listener_id,
                is_favorited: false,
            }),
            Kind::UserBlocked(block) => {
                let data = BlockMessage {
                    user_id: block.user_id,
                    blocked_id: block.blocked_id,
                    action_type: &block.action_type,
                    is_blocked: true,
                };
                self.notify(block.user_id, "user_blocked", data);
            }
            Kind::UserUnblocked(block) => {
                let data = BlockMessage {
                    user_id: block.user_id,
                    blocked_id: block.blocked_id,
                    action_type: "unblock",
                    is_blocked: false,
                };
                self.notify(block.user_id, "user_unblocked", data);
            }
            _ => {}
        }
    }

    /// Notifies all devices of the user who owns the list. The listener is notified too, unless the event has no
    /// name: then one of the two has blocked the other.
    fn write_favorite(&mut self, favorite: FavoritedByMessage<'_>) {
        let list_change = FavoriteListChange {
            user_id: favorite.user_id,
            listener_id: favorite.listener_id,
            is_favorited: favorite.is_favorited,
        };
        self.notify(favorite.user_id, "favorites_changed", list_change);
        if favorite.username.is_empty() {
            return;
        }
        let r#type = if favorite.is_favorited {
            "favorite_added"
        } else {
            "favorite_removed"
        };
        self.notify(favorite.listener_id, r#type, favorite);
    }

    fn write_verification(&mut self, kind: &Kind) {
        let data = match kind {
            Kind::VerificationReviewed(review) => ReviewMessage {
                user_id: review.user_id,
                verification_id: Some(review.verification_id),
                status: &review.status,
                is_verified: review.is_verified,
                reviewer_notes: review.reviewer_notes.as_deref(),
            },
            Kind::VerificationRevoked(revoked) => ReviewMessage {
                user_id: revoked.user_id,
                verification_id: None,
                status: "revoked",
                is_verified: false,
                reviewer_notes: None,
            },
            _ => return,
        };
        self.notify(data.user_id, "verification_reviewed", data);
    }

    fn write_photo_review(&mut self, kind: &Kind) {
        let Kind::PhotoReviewed(review) = kind else {
            return;
        };
        let is_public = review.status == "approved";
        let data = PhotoReviewMessage {
            user_id: review.user_id,
            photo_id: review.photo_id,
            status: &review.status,
            image_url: review.image_url.as_deref().filter(|_| is_public),
            reviewer_notes: review.reviewer_notes.as_deref(),
        };
        self.notify(review.user_id, "photo_reviewed", data);
    }

    fn write_export_ready(&mut self, kind: &Kind) {
        let Kind::DataExportReady(export) = kind else {
            return;
        };
        let data = DataExportMessage {
            user_id: export.user_id,
            export_id: export.export_id,
            expires_at: talktime_proto::datetime(export.expires_at.as_ref()),
        };
        self.notify(export.user_id, "data_export_ready", data);
    }

    fn write_money(&mut self, kind: &Kind) {
        match kind {
            Kind::LowBalance(low) => {
                let data = BalanceMessage {
                    user_id: low.user_id,
                    balance_coins: low.balance_coins,
                };
                self.notify(low.user_id, "low_balance", data);
            }
            Kind::WithdrawalUpdated(withdrawal) => self.write_withdrawal(withdrawal),
            Kind::PaymentReversed(reversed) => self.write_reversal(reversed),
            _ => {}
        }
    }

    fn write_withdrawal(&mut self, withdrawal: &WithdrawalUpdated) {
        let data = WithdrawalMessage {
            user_id: withdrawal.user_id,
            withdrawal_id: withdrawal.withdrawal_id,
            amount: Hundredths(withdrawal.amount_paise),
            status: &withdrawal.status,
        };
        self.notify(withdrawal.user_id, "withdrawal_updated", data);
    }

    fn write_reversal(&mut self, reversed: &PaymentReversed) {
        let data = ReversalMessage {
            user_id: reversed.user_id,
            order_id: &reversed.order_id,
            reason: &reversed.reason,
            coins_taken: reversed.coins_taken,
            debt_coins: reversed.debt_coins,
            balance_coins: reversed.balance_coins,
        };
        self.notify(reversed.user_id, "payment_reversed", data);
    }
}

/// Events of older replicas have empty texts in new fields.
fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};
    use talktime_proto::events::v1::{FavoriteAdded, MinuteBilled};

    use super::*;

    /// A message as its user receives it.
    pub(in crate::ws) struct ParsedMessage {
        pub(in crate::ws) channel: SocketChannel,
        pub(in crate::ws) user_id: i64,
        pub(in crate::ws) body: Value,
    }

    /// Returns the messages that an event causes.
    pub(in crate::ws) fn messages_of(kind: Kind) -> Vec<ParsedMessage> {
        let event = Event {
            version: 1,
            happened_at: None,
            kind: Some(kind),
        };
        let messages = user_messages(&event, 7).into_iter();
        messages
            .map(|message| ParsedMessage {
                channel: message.channel,
                user_id: message.user_id,
                body: serde_json::from_str(&message.text).expect("JSON"),
            })
            .collect()
    }

    #[test]
    fn only_the_caller_receives_the_balance() {
        let messages = messages_of(Kind::MinuteBilled(MinuteBilled {
            call_id: 3,
            user_id: 1,
            listener_id: 2,
            call_type: "audio".to_owned(),
            minute: 2,
            coins_spent: 20,
            remaining_coins: 280,
        }));
        let common = json!({"call_id": 3, "call_uuid": call_uuid(3).to_string(), "user_id": 1, "listener_id": 2, "call_type": "audio",
                            "status": "ongoing", "minute": 2, "coins_spent": 20});
        let mut for_caller = common.clone();
        for_caller["remaining_coins"] = 280.into();
        assert_eq!(messages.len(), 2);
        assert_eq!(
            (messages[0].channel, messages[0].user_id),
            (SocketChannel::Calls, 1)
        );
        assert_eq!(messages[0].body["type"], "call_billing");
        assert_eq!(messages[0].body["data"], for_caller);
        assert_eq!(messages[1].user_id, 2);
        assert_eq!(messages[1].body["data"], common);
    }

    #[test]
    fn both_users_are_notified_of_a_favourite_unless_it_has_no_name() {
        let messages_for_name = |username: &str| {
            messages_of(Kind::FavoriteAdded(FavoriteAdded {
                user_id: 1,
                listener_id: 2,
                username: username.to_owned(),
            }))
        };
        let messages = messages_for_name("asha");
        assert_eq!(
            (messages[0].channel, messages[0].user_id),
            (SocketChannel::Notifications, 1)
        );
        assert_eq!(messages[0].body["type"], "favorites_changed");
        assert_eq!(messages[0].body["seq"], 7);
        assert_eq!(
            (messages[1].channel, messages[1].user_id),
            (SocketChannel::Notifications, 2)
        );
        assert_eq!(messages[1].body["type"], "favorite_added");
        let data = json!({"user_id": 1, "username": "asha", "action": "added", "listener_id": 2,
                          "is_favorited": true});
        assert_eq!(messages[1].body["data"], data);
        let blocked = messages_for_name("");
        assert_eq!((blocked.len(), blocked[0].user_id), (1, 1));
    }
}
