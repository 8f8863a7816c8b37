//! The `data` of messages about calls that ring.

use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_proto::events::v1::CallsPaused;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::openapi::values;
use crate::peer_profiles::PeerAnswer;

/// A call that rings, as its messages describe it. It never contains a balance: nothing is paid yet.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Ring)]
pub(super) struct RingMessage<'a> {
    pub(super) call_id: i64,
    /// The same on all devices of both parties; for the call interfaces of phones.
    #[schema(value_type = String)]
    pub(super) call_uuid: Uuid,
    /// The caller.
    pub(super) user_id: i64,
    pub(super) listener_id: i64,
    #[schema(value_type = values::CallType)]
    pub(super) call_type: &'a str,
    #[schema(value_type = values::CallStateStatus)]
    pub(super) status: &'a str,
    /// The carrier of sound and picture. It is present while the call rings and once it is accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::CallMedia, required = false)]
    pub(super) media: Option<&'a str>,
    /// Whether the current user is rung for the call or made it; of `call_ringing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::CallDirection, required = false)]
    pub(super) direction: Option<&'static str>,
    /// When devices stop ringing by themselves; of `call_ringing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) expires_at: Option<DateTime<Utc>>,
    /// The other party; of `call_ringing`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) peer: Option<PeerAnswer>,
    /// The time at which the listener accepted. It is present in `call_accepted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) accepted_at: Option<DateTime<Utc>>,
    /// The `sid` of the listener's token that accepted the call: devices of other sessions stop ringing. Only the
    /// listener receives it; of `call_accepted`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) accepted_session_id: Option<&'a str>,
    /// How the ring ended; of `call_unanswered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::RingOutcome, required = false)]
    pub(super) outcome: Option<&'a str>,
    /// Why it ended so; of `call_unanswered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::RingReason, required = false)]
    pub(super) reason: Option<&'a str>,
    /// The party that ended it. It is present in `call_unanswered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = values::CallEnder, required = false)]
    pub(super) ended_by: Option<&'a str>,
    /// For how long it rang; of `call_unanswered`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) rung_seconds: Option<i64>,
}

/// A listener for whom no more calls ring until they take calls again.
#[derive(Serialize, ToSchema)]
#[schema(as = CallsPaused)]
pub(super) struct CallsPausedMessage<'a> {
    user_id: i64,
    /// `unanswered`.
    reason: &'a str,
    /// The number of rings in a row that nobody answered.
    count: i32,
}

impl<'a> From<&'a CallsPaused> for CallsPausedMessage<'a> {
    fn from(paused: &'a CallsPaused) -> Self {
        Self {
            user_id: paused.listener_id,
            reason: &paused.reason,
            count: paused.count,
        }
    }
}
