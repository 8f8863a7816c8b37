//! The `data` of messages to single users, on `/ws/calls` and `/ws/notifications`.

use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_proto::calls::call_uuid;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::number::Hundredths;
use crate::openapi::values;

/// A call as its messages describe it.
#[derive(Clone, Copy, Default, Serialize, ToSchema)]
#[schema(as = Call)]
pub(super) struct CallMessage<'a> {
    pub(super) call_id: i64,
    /// The same on all devices of both parties; for the call interfaces of phones.
    #[schema(value_type = String)]
    pub(super) call_uuid: Uuid,
    /// The caller.
    pub(super) user_id: i64,
    pub(super) listener_id: i64,
    #[schema(value_type = values::CallType)]
    pub(super) call_type: &'a str,
    #[schema(value_type = values::CallStatus)]
    pub(super) status: &'a str,
    /// Coins charged for the call so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) coins_spent: Option<i64>,
    /// The caller's balance in coins. Only the caller receives it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) remaining_coins: Option<i64>,
    /// The number of the minute, from 1; after the end of the call, the number of minutes charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) minute: Option<i32>,
    /// The duration of the call in seconds, after its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) duration_seconds: Option<i64>,
    /// The listener's earnings in rupees, after the end of the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) listener_money_earned: Option<Hundredths>,
    /// Why the call has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::CallEndReason, required = false)]
    pub(super) end_reason: Option<&'a str>,
    /// The party that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::CallEnder, required = false)]
    pub(super) ended_by: Option<&'a str>,
}

impl<'a> CallMessage<'a> {
    /// Describes an ongoing call, without its minute and its coins.
    pub(super) fn ongoing(
        call_id: i64,
        user_id: i64,
        listener_id: i64,
        call_type: &'a str,
    ) -> Self {
        Self {
            call_id,
            call_uuid: call_uuid(call_id),
            user_id,
            listener_id,
            call_type,
            status: "ongoing",
            ..Self::default()
        }
    }

    /// Returns the message without what only the caller may know.
    pub(super) fn for_listener(self) -> Self {
        Self {
            remaining_coins: None,
            ..self
        }
    }
}

/// A change of the current user's list of favourites.
#[derive(Serialize, ToSchema)]
#[schema(as = Favorite)]
pub(super) struct FavoriteListChange {
    pub(super) user_id: i64,
    pub(super) listener_id: i64,
    pub(super) is_favorited: bool,
}

/// A user who added the current listener to their favourites, or removed them.
#[derive(Serialize, ToSchema)]
#[schema(as = FavoriteOf)]
pub(super) struct FavoritedByMessage<'a> {
    /// The user who changed their list of favourites.
    pub(super) user_id: i64,
    /// The name of that user.
    pub(super) username: &'a str,
    #[schema(value_type = values::FavoriteAction)]
    pub(super) action: &'static str,
    /// The current user.
    pub(super) listener_id: i64,
    pub(super) is_favorited: bool,
}

/// A user whom the current user blocked or unblocked.
#[derive(Serialize, ToSchema)]
#[schema(as = Block)]
pub(super) struct BlockMessage<'a> {
    pub(super) user_id: i64,
    pub(super) blocked_id: i64,
    #[schema(value_type = values::BlockChange)]
    pub(super) action_type: &'a str,
    pub(super) is_blocked: bool,
}

/// The decision on a listener's verification.
#[derive(Serialize, ToSchema)]
#[schema(as = Review)]
pub(super) struct ReviewMessage<'a> {
    pub(super) user_id: i64,
    /// The reviewed submission. Missing when the verification was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) verification_id: Option<i64>,
    #[schema(value_type = values::ReviewStatus)]
    pub(super) status: &'a str,
    pub(super) is_verified: bool,
    #[schema(required)]
    pub(super) reviewer_notes: Option<&'a str>,
}

/// The review of the current user's photo.
#[derive(Serialize, ToSchema)]
#[schema(as = PhotoReview)]
pub(super) struct PhotoReviewMessage<'a> {
    pub(super) user_id: i64,
    pub(super) photo_id: i64,
    #[schema(value_type = values::PhotoStatus)]
    pub(super) status: &'a str,
    /// The public address of an approved photo.
    #[schema(required)]
    pub(super) image_url: Option<&'a str>,
    #[schema(required)]
    pub(super) reviewer_notes: Option<&'a str>,
}

/// The current user's export that can be fetched.
#[derive(Serialize, ToSchema)]
#[schema(as = DataExport)]
pub(super) struct DataExportMessage {
    pub(super) user_id: i64,
    pub(super) export_id: i64,
    /// When the archive is deleted.
    #[schema(required)]
    pub(super) expires_at: Option<DateTime<Utc>>,
}

/// The status of a withdrawal.
#[derive(Serialize, ToSchema)]
#[schema(as = Withdrawal)]
pub(super) struct WithdrawalMessage<'a> {
    pub(super) user_id: i64,
    pub(super) withdrawal_id: i64,
    /// Amount in rupees.
    pub(super) amount: Hundredths,
    #[schema(value_type = values::WithdrawalStatus)]
    pub(super) status: &'a str,
}

/// The balance in coins.
#[derive(Serialize, ToSchema)]
#[schema(as = Balance)]
pub(super) struct BalanceMessage {
    pub(super) user_id: i64,
    pub(super) balance_coins: i64,
}

/// A payment that was refunded or charged back, and the coins that were taken for it.
#[derive(Serialize, ToSchema)]
#[schema(as = Reversal)]
pub(super) struct ReversalMessage<'a> {
    pub(super) user_id: i64,
    pub(super) order_id: &'a str,
    #[schema(value_type = values::ReversalReason)]
    pub(super) reason: &'a str,
    /// Coins taken from the balance.
    pub(super) coins_taken: i64,
    /// Coins that the balance did not cover. The next coins added pay this debt first.
    pub(super) debt_coins: i64,
    /// The balance afterwards.
    pub(super) balance_coins: i64,
}
