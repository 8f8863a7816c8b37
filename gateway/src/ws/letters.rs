//! What an event says to whom it concerns alone: on `/ws/calls` to both parties, on
//! `/ws/notifications` to the person whose list, money or standing it is.

use axum::extract::ws::Utf8Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, WithdrawalUpdated};
use utoipa::ToSchema;

use super::channel::Channel;
use super::message::Outgoing;
use crate::number::Hundredths;
use crate::openapi::values;

/// A message to one person.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) channel: Channel,
    pub(super) user_id: i64,
    pub(super) text: Utf8Bytes,
}

/// What a message about a call says. The caller's balance is told to the caller alone.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = Call)]
pub(super) struct OfCall<'a> {
    call_id: i64,
    user_id: i64,
    listener_id: i64,
    #[schema(value_type = values::CallType)]
    call_type: &'a str,
    #[schema(value_type = values::CallStatus)]
    status: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    coins_spent: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    remaining_coins: Option<i64>,
    /// Which one; of a call that has ended, how many there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    minute: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    duration_seconds: Option<i64>,
    /// Rupees.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    listener_money_earned: Option<Hundredths>,
}

/// A listener on one's list, or no longer.
#[derive(Serialize, ToSchema)]
pub(super) struct Favorite {
    user_id: i64,
    listener_id: i64,
    is_favorited: bool,
}

/// Somebody whose favourite one is, or no longer.
#[derive(Serialize, ToSchema)]
pub(super) struct FavoriteOf<'a> {
    /// The person who likes to talk to one.
    user_id: i64,
    username: &'a str,
    #[schema(value_type = values::FavoriteAction)]
    action: &'static str,
    /// Oneself.
    listener_id: i64,
    is_favorited: bool,
}

/// Somebody kept away, or no longer.
#[derive(Serialize, ToSchema)]
pub(super) struct Block<'a> {
    user_id: i64,
    blocked_id: i64,
    #[schema(value_type = values::BlockChange)]
    action_type: &'a str,
    is_blocked: bool,
}

/// Where a listener's verification stands.
#[derive(Serialize, ToSchema)]
pub(super) struct Review<'a> {
    user_id: i64,
    /// Not there when it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    verification_id: Option<i64>,
    #[schema(value_type = values::ReviewStatus)]
    status: &'a str,
    is_verified: bool,
    #[schema(required)]
    reviewer_notes: Option<&'a str>,
}

/// Where a withdrawal stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub(super) struct OfWithdrawal<'a> {
    user_id: i64,
    withdrawal_id: i64,
    /// Rupees.
    amount: Hundredths,
    #[schema(value_type = values::WithdrawalStatus)]
    status: &'a str,
}

/// Coins left.
#[derive(Serialize, ToSchema)]
pub(super) struct Balance {
    user_id: i64,
    balance_coins: i64,
}

/// A payment that was taken back, and the coins with it.
#[derive(Serialize, ToSchema)]
pub(super) struct Reversal<'a> {
    user_id: i64,
    order_id: &'a str,
    #[schema(value_type = values::ReversalReason)]
    reason: &'a str,
    coins_taken: i64,
    /// What the balance could not give; the next recharge pays it first.
    debt_coins: i64,
    balance_coins: i64,
}

impl<'a> OfCall<'a> {
    /// A call that is on.
    fn live(call_id: i64, user_id: i64, listener_id: i64) -> Self {
        Self {
            call_id,
            user_id,
            listener_id,
            status: "ongoing",
            ..Self::default()
        }
    }

    /// In this minute, with coins spent on it so far and remaining to the caller.
    fn minute(self, call_type: &'a str, minute: i32, (spent, remaining): (i64, i64)) -> Self {
        Self {
            call_type,
            minute: Some(minute),
            coins_spent: Some(spent),
            remaining_coins: Some(remaining),
            ..self
        }
    }
}

/// Writes letters of one event.
struct Writer {
    happened_at: DateTime<Utc>,
    seq: u64,
    letters: Vec<Letter>,
}

/// The letters that an event makes, numbered `seq`.
pub(super) fn letters_of(event: &Event, seq: u64) -> Vec<Letter> {
    let happened_at = talktime_proto::datetime(event.happened_at.as_ref());
    let mut writer = Writer {
        happened_at: happened_at.unwrap_or_default(),
        seq,
        letters: Vec::new(),
    };
    if let Some(kind) = &event.kind {
        writer.write_call(kind);
        writer.write_notification(kind);
    }
    writer.letters
}

impl Writer {
    fn write(&mut self, channel: Channel, user_id: i64, r#type: &str, data: impl Serialize) {
        let text = Outgoing {
            r#type,
            data,
            timestamp: self.happened_at,
            seq: self.seq,
        }
        .to_text();
        self.letters.push(Letter {
            channel,
            user_id,
            text,
        });
    }

    /// To both parties; to the listener without what is the caller's business.
    fn write_parties(&mut self, r#type: &str, call: OfCall<'_>) {
        let for_listener = OfCall {
            remaining_coins: None,
            ..call
        };
        self.write(Channel::Calls, call.user_id, r#type, call);
        self.write(Channel::Calls, call.listener_id, r#type, for_listener);
    }

    fn write_call(&mut self, kind: &Kind) {
        match kind {
            Kind::CallStarted(call) => {
                let start = OfCall::live(call.call_id, call.user_id, call.listener_id);
                let coins = (call.coins_spent, call.remaining_coins);
                self.write_parties("call_started", start.minute(&call.call_type, 1, coins));
            }
            Kind::MinuteBilled(call) => {
                let bill = OfCall::live(call.call_id, call.user_id, call.listener_id);
                let coins = (call.coins_spent, call.remaining_coins);
                let bill = bill.minute(&call.call_type, call.minute, coins);
                self.write_parties("call_billing", bill);
            }
            Kind::CallLowBalance(call) => {
                let low = OfCall::live(call.call_id, call.user_id, call.listener_id);
                let coins = (call.coins_spent, call.remaining_coins);
                let low = low.minute(&call.call_type, call.minute, coins);
                self.write_parties("call_low_balance", low);
            }
            Kind::CallEnded(call) => self.write_parties(
                "call_ended",
                OfCall {
                    call_id: call.call_id,
                    user_id: call.user_id,
                    listener_id: call.listener_id,
                    call_type: &call.call_type,
                    status: &call.status,
                    coins_spent: Some(call.coins_spent),
                    remaining_coins: call.remaining_coins,
                    minute: Some(call.duration_minutes),
                    duration_seconds: Some(call.duration_seconds),
                    listener_money_earned: Some(Hundredths(call.listener_paise_earned)),
                },
            ),
            _ => {}
        }
    }

    fn write_notification(&mut self, kind: &Kind) {
        match kind {
            Kind::FavoriteAdded(f) => self.write_favorite(FavoriteOf {
                user_id: f.user_id,
                username: &f.username,
                action: "added",
                listener_id: f.listener_id,
                is_favorited: true,
            }),
            Kind::FavoriteRemoved(f) => self.write_favorite(FavoriteOf {
                user_id: f.user_id,
                username: &f.username,
                action: "removed",
                listener_id: f.listener_id,
                is_favorited: false,
            }),
            Kind::UserBlocked(block) => self.notify(
                block.user_id,
                "user_blocked",
                Block {
                    user_id: block.user_id,
                    blocked_id: block.blocked_id,
                    action_type: &block.action_type,
                    is_blocked: true,
                },
            ),
            Kind::UserUnblocked(block) => self.notify(
                block.user_id,
                "user_unblocked",
                Block {
                    user_id: block.user_id,
                    blocked_id: block.blocked_id,
                    action_type: "unblock",
                    is_blocked: false,
                },
            ),
            Kind::VerificationReviewed(review) => self.notify(
                review.user_id,
                "verification_reviewed",
                Review {
                    user_id: review.user_id,
                    verification_id: Some(review.verification_id),
                    status: &review.status,
                    is_verified: review.is_verified,
                    reviewer_notes: review.reviewer_notes.as_deref(),
                },
            ),
            Kind::VerificationRevoked(revoked) => self.notify(
                revoked.user_id,
                "verification_reviewed",
                Review {
                    user_id: revoked.user_id,
                    verification_id: None,
                    status: "revoked",
                    is_verified: false,
                    reviewer_notes: None,
                },
            ),
            _ => self.write_money(kind),
        }
    }

    /// To every device of the person whose list it is, and to the listener, unless the event has no name:
    /// then either has blocked the other.
    fn write_favorite(&mut self, favorite: FavoriteOf<'_>) {
        let on_list = Favorite {
            user_id: favorite.user_id,
            listener_id: favorite.listener_id,
            is_favorited: favorite.is_favorited,
        };
        self.notify(favorite.user_id, "favorites_changed", on_list);
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

    fn write_money(&mut self, kind: &Kind) {
        match kind {
            Kind::LowBalance(low) => self.notify(
                low.user_id,
                "low_balance",
                Balance {
                    user_id: low.user_id,
                    balance_coins: low.balance_coins,
                },
            ),
            Kind::WithdrawalUpdated(withdrawal) => self.write_withdrawal(withdrawal),
            Kind::PaymentReversed(reversed) => self.notify(
                reversed.user_id,
                "payment_reversed",
                Reversal {
                    user_id: reversed.user_id,
                    order_id: &reversed.order_id,
                    reason: &reversed.reason,
                    coins_taken: reversed.coins_taken,
                    debt_coins: reversed.debt_coins,
                    balance_coins: reversed.balance_coins,
                },
            ),
            _ => {}
        }
    }

    fn write_withdrawal(&mut self, withdrawal: &WithdrawalUpdated) {
        let data = OfWithdrawal {
            user_id: withdrawal.user_id,
            withdrawal_id: withdrawal.withdrawal_id,
            amount: Hundredths(withdrawal.amount_paise),
            status: &withdrawal.status,
        };
        self.notify(withdrawal.user_id, "withdrawal_updated", data);
    }

    fn notify(&mut self, user_id: i64, r#type: &str, data: impl Serialize) {
        self.write(Channel::Notifications, user_id, r#type, data);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use talktime_proto::events::v1::{FavoriteAdded, MinuteBilled};

    use super::*;

    fn of(kind: Kind) -> Vec<(Channel, i64, Value)> {
        let event = Event {
            version: 1,
            happened_at: None,
            kind: Some(kind),
        };
        let letters = letters_of(&event, 7).into_iter();
        letters
            .map(|letter| {
                let text: Value = serde_json::from_str(&letter.text).expect("JSON");
                (letter.channel, letter.user_id, text)
            })
            .collect()
    }

    #[test]
    fn the_balance_is_the_callers_business() {
        let letters = of(Kind::MinuteBilled(MinuteBilled {
            call_id: 3,
            user_id: 1,
            listener_id: 2,
            call_type: "audio".to_owned(),
            minute: 2,
            coins_spent: 20,
            remaining_coins: 280,
        }));
        let common = json!({"call_id": 3, "user_id": 1, "listener_id": 2, "call_type": "audio",
                            "status": "ongoing", "minute": 2, "coins_spent": 20});
        let mut for_caller = common.clone();
        for_caller["remaining_coins"] = 280.into();
        assert_eq!(letters.len(), 2);
        assert_eq!((letters[0].0, letters[0].1), (Channel::Calls, 1));
        assert_eq!(letters[0].2["type"], "call_billing");
        assert_eq!(letters[0].2["data"], for_caller);
        assert_eq!(letters[1].1, 2);
        assert_eq!(letters[1].2["data"], common);
    }

    #[test]
    fn a_favourite_is_news_for_both_unless_it_has_no_name() {
        let of_name = |username: &str| {
            of(Kind::FavoriteAdded(FavoriteAdded {
                user_id: 1,
                listener_id: 2,
                username: username.to_owned(),
            }))
        };
        let letters = of_name("asha");
        assert_eq!((letters[0].0, letters[0].1), (Channel::Notifications, 1));
        assert_eq!(letters[0].2["type"], "favorites_changed");
        assert_eq!(letters[0].2["seq"], 7);
        assert_eq!((letters[1].0, letters[1].1), (Channel::Notifications, 2));
        assert_eq!(letters[1].2["type"], "favorite_added");
        let data = json!({"user_id": 1, "username": "asha", "action": "added", "listener_id": 2,
                          "is_favorited": true});
        assert_eq!(letters[1].2["data"], data);
        let blocked = of_name("");
        assert_eq!((blocked.len(), blocked[0].1), (1, 1));
    }
}
