//! Calls, from their start to their end (contract, section 7).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, ErrorKind};
use talktime_proto::calls::call_uuid;
use talktime_proto::calls::v1::{
    BillMinuteRequest, BillMinuteResponse, CallStatus, CleanUpRequest, CleanUpResponse,
    EmergencyEndCallRequest, EndCallRequest, EndCallResponse, EndReason, StartCallRequest,
    StartCallResponse,
};
use utoipa::ToSchema;

use super::time;
use crate::call_names::{call_type_name, media_name, parse_call_type, parse_media, status_name};
use crate::clients::{CallsClient, ProfileClient};
use crate::extract::{AdminUser, IdempotencyKey, Json, PathId, is_admin};
use crate::number::Hundredths;
use crate::openapi::values;
use crate::pending_ends::PendingCallEnds;
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(eserde::Deserialize, ToSchema)]
#[schema(as = StartBody)]
pub(super) struct CallStartBody {
    listener_id: i64,
    #[schema(value_type = values::CallType)]
    call_type: String,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1440)]
    estimated_duration_minutes: Option<i64>,
    /// Whether the listener's devices ring first: the call begins when the listener accepts it, and nothing is
    /// paid before.
    #[serde(default)]
    ring: Option<bool>,
    /// The carrier of sound and picture. The default is the platform if it has an engine and the call rings.
    #[serde(default)]
    #[schema(value_type = Option<values::CallMedia>)]
    media: Option<String>,
}

impl CallStartBody {
    fn into_request(
        self,
        caller_id: i64,
        idempotency_key: Option<String>,
    ) -> Result<StartCallRequest, Error> {
        let minutes = self.estimated_duration_minutes.map(i32::try_from);
        let media = self.media.as_deref().map(parse_media).transpose()?;
        Ok(StartCallRequest {
            caller_id,
            listener_id: self.listener_id,
            call_type: parse_call_type(&self.call_type)?.into(),
            estimated_duration_minutes: minutes.transpose().map_err(|_| {
                Error::invalid(
                    "invalid_estimated_duration",
                    "estimated_duration_minutes is out of range.",
                )
            })?,
            idempotency_key,
            ring: self.ring.unwrap_or_default(),
            media: media.unwrap_or_default().into(),
        })
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = StartAnswer)]
pub(super) struct CallStartAnswer {
    call_id: i64,
    /// The same on all devices of both people; for the call interfaces of phones.
    call_uuid: String,
    message: &'static str,
    /// The whole minutes that the balance pays for.
    call_duration: i64,
    /// The cost in coins of the estimated duration.
    estimated_cost: i64,
    /// The balance in coins after the first minute.
    remaining_coins: i64,
    #[schema(value_type = values::CallType)]
    call_type: &'static str,
    listener_id: i64,
    #[schema(value_type = values::StartedStatus)]
    status: &'static str,
    /// When the ring stops by itself; null unless the call rings.
    ring_expires_at: Option<DateTime<Utc>>,
    #[schema(value_type = values::CallMedia)]
    media: &'static str,
}

impl TryFrom<StartCallResponse> for CallStartAnswer {
    type Error = Error;

    fn try_from(call: StartCallResponse) -> Result<Self, Error> {
        Ok(Self {
            call_id: call.call_id,
            message: match call.status() {
                CallStatus::Ringing => "Ringing",
                _ => "Call started",
            },
            call_duration: call.call_duration_minutes,
            estimated_cost: call.estimated_cost_coins,
            remaining_coins: call.remaining_coins,
            call_type: call_type_name(call.call_type())?,
            listener_id: call.listener_id,
            status: status_name(call.status())?,
            ring_expires_at: time(call.ring_expires_at),
            media: media_name(call.media()),
            call_uuid: call_uuid(call.call_id).to_string(),
        })
    }
}

/// Start a call.
///
/// The first minute is charged at once, and both users are busy afterwards. With `ring`, the listener's devices ring
/// instead, and nothing is charged until the listener accepts. The error `incoming_call` has the member `call_id`: the
/// call that the other user is ringing for.
#[utoipa::path(
    post,
    path = "/calls/start",
    tag = "calls",
    security(("access_token" = [])),
    params(IdempotencyKey),
    responses(
        (status = 200, body = CallStartAnswer),
        (status = 400, description = "cannot_call_oneself, not_a_listener, invalid_call_type, invalid_estimated_duration, invalid_media, insufficient_coins, media_not_available, media_needs_ring, invalid_idempotency_key"),
        (status = 403, description = "blocked"),
        (status = 404, description = "listener_not_found"),
        (status = 409, description = "on_a_call, listener_offline, listener_unavailable, listener_not_verified, call_type_disabled, incoming_call, ring_required, idempotency_key_in_use"),
        (status = 422, description = "idempotency_key_reused"),
        (status = 429, description = "ring_limit"),
    )
)]
// The gateway does not retry: without a key, a second attempt could start a second call.
pub(super) async fn start_call(
    State(mut calls): State<CallsClient>,
    current_user: CurrentUser,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<CallStartBody>,
) -> Result<Json<CallStartAnswer>> {
    let request = body.into_request(current_user.user_id, idempotency_key)?;
    let call = calls.start_call(request).await?.into_inner();
    Ok(Json(call.try_into()?))
}

#[derive(Serialize, ToSchema)]
#[schema(as = BillAnswer)]
pub(super) struct CallBillAnswer {
    call_id: i64,
    /// The coins that this request charged; 0 if every minute was charged before.
    coins_deducted: i64,
    /// The caller's balance in coins. Null for the listener.
    remaining_coins: Option<i64>,
    total_coins_spent: i64,
    minutes_billed: i32,
    message: &'static str,
}

impl From<BillMinuteResponse> for CallBillAnswer {
    fn from(billed: BillMinuteResponse) -> Self {
        Self {
            call_id: billed.call_id,
            coins_deducted: billed.coins_deducted,
            remaining_coins: billed.remaining_coins,
            total_coins_spent: billed.total_coins_spent,
            minutes_billed: billed.minutes_billed,
            message: match billed.coins_deducted {
                0 => "Every minute so far is billed already",
                _ => "Minute billed",
            },
        }
    }
}

/// Charge the minutes of a call that have begun.
///
/// The server does this by itself, so the request only makes it happen sooner. No minute is charged twice.
#[utoipa::path(
    post,
    path = "/calls/bill-minute/{call_id}",
    tag = "calls",
    security(("access_token" = [])),
    params(IdempotencyKey),
    responses(
        (status = 200, body = CallBillAnswer),
        (status = 400, description = "insufficient_coins, invalid_idempotency_key"),
        (status = 403, description = "not_a_party"),
        (status = 404, description = "call_not_found"),
        (status = 409, description = "idempotency_key_in_use"),
        (status = 422, description = "idempotency_key_reused"),
    )
)]
pub(super) async fn bill_minute(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    PathId(call_id): PathId,
) -> Result<Json<CallBillAnswer>> {
    let request = BillMinuteRequest {
        call_id,
        user_id: current_user.user_id,
        idempotency_key,
    };
    let billed = retry_idempotent(&calls, CallsClient::bill_minute, request).await?;
    Ok(Json(billed.into()))
}

#[derive(eserde::Deserialize, ToSchema)]
#[schema(as = EndBody)]
pub(super) struct CallEndBody {
    call_id: i64,
    #[serde(default)]
    /// The default is `completed`.
    #[schema(value_type = Option<values::EndReason>)]
    reason: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = EndAnswer)]
pub(super) struct CallEndAnswer {
    call_id: i64,
    message: &'static str,
    duration_seconds: i64,
    duration_minutes: i32,
    coins_spent: i64,
    /// The price of the coins in rupees.
    user_money_spend: Hundredths,
    /// The listener's earnings in rupees.
    listener_money_earned: Hundredths,
    /// The caller's balance in coins. Null for the listener.
    remaining_coins: Option<i64>,
    #[schema(value_type = values::CallStatus)]
    status: &'static str,
    #[schema(value_type = Option<values::CallEndReason>)]
    end_reason: Option<String>,
    #[schema(value_type = Option<values::CallEnder>)]
    ended_by: Option<String>,
}

impl TryFrom<EndCallResponse> for CallEndAnswer {
    type Error = Error;

    fn try_from(call: EndCallResponse) -> Result<Self, Error> {
        Ok(Self {
            call_id: call.call_id,
            message: "Call ended",
            duration_seconds: call.duration_seconds,
            duration_minutes: call.duration_minutes,
            coins_spent: call.coins_spent,
            user_money_spend: Hundredths(call.user_money_spend_paise),
            listener_money_earned: Hundredths(call.listener_paise_earned),
            remaining_coins: call.remaining_coins,
            status: status_name(call.status())?,
            end_reason: call.end_reason,
            ended_by: call.ended_by,
        })
    }
}

/// End a call.
///
/// Either user may end it. The answer is the receipt; a repeated request receives the same one. A call that rings is
/// cancelled by its caller or rejected by its listener.
#[utoipa::path(
    post,
    path = "/calls/end",
    tag = "calls",
    security(("access_token" = [])),
    params(IdempotencyKey),
    responses(
        (status = 200, body = CallEndAnswer),
        (status = 400, description = "invalid_reason, invalid_idempotency_key"),
        (status = 403, description = "not_a_party"),
        (status = 404, description = "call_not_found"),
        (status = 409, description = "idempotency_key_in_use"),
        (status = 422, description = "idempotency_key_reused"),
    )
)]
pub(super) async fn end_call(
    State(pending_ends): State<PendingCallEnds>,
    current_user: CurrentUser,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    Json(body): Json<CallEndBody>,
) -> Result<Json<CallEndAnswer>> {
    let request = EndCallRequest {
        call_id: body.call_id,
        user_id: current_user.user_id,
        reason: end_reason(body.reason.as_deref())?.into(),
        idempotency_key,
        waited_ms: 0,
    };
    let call = pending_ends.end_call(request).await?;
    Ok(Json(call.try_into()?))
}

/// End a call at once.
///
/// Either user of the call or an admin may end it.
#[utoipa::path(
    post,
    path = "/calls/emergency-end/{call_id}",
    tag = "calls",
    security(("access_token" = [])),
    params(IdempotencyKey),
    responses(
        (status = 200, body = CallEndAnswer),
        (status = 400, description = "invalid_idempotency_key, audit_reason_required"),
        (status = 403, description = "not_a_party"),
        (status = 404, description = "call_not_found"),
        (status = 409, description = "idempotency_key_in_use"),
        (status = 422, description = "idempotency_key_reused"),
    )
)]
// Only a user who is not a party of the call needs the role `admin`, so profile is queried only for such users.
pub(super) async fn emergency_end_call(
    State(mut calls): State<CallsClient>,
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    PathId(call_id): PathId,
) -> Result<Json<CallEndAnswer>> {
    let request = EmergencyEndCallRequest {
        call_id,
        user_id: current_user.user_id,
        idempotency_key,
    };
    let as_party = calls.emergency_end_call(request.clone()).await;
    let ended = match as_party.map_err(Error::from) {
        Ok(ended) => ended,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            if !is_admin(&profile, current_user.user_id).await? {
                return Err(error.into());
            }
            calls.end_call_as_admin(request).await?
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Json(ended.into_inner().try_into()?))
}

#[derive(Serialize, ToSchema)]
pub(super) struct CleanUpAnswer {
    message: &'static str,
    /// The sum of the following numbers.
    calls_cleaned: i64,
    /// Ongoing calls that were ended.
    calls_ended: i64,
    /// Ended calls that were settled.
    calls_settled: i64,
    /// Failed starts that still kept both users busy.
    calls_orphaned: i64,
}

impl From<CleanUpResponse> for CleanUpAnswer {
    fn from(cleaned: CleanUpResponse) -> Self {
        let CleanUpResponse {
            calls_ended,
            calls_settled,
            calls_undone,
        } = cleaned;
        Self {
            message: "Cleaned up",
            calls_cleaned: calls_ended + calls_settled + calls_undone,
            calls_ended,
            calls_settled,
            calls_orphaned: calls_undone,
        }
    }
}

/// End and settle calls that were left behind.
///
/// The server does this by itself.
#[utoipa::path(
    post,
    path = "/calls/cleanup",
    tag = "admin",
    security(("access_token" = ["admin"])),
    responses((status = 200, body = CleanUpAnswer))
)]
pub(super) async fn clean_up_calls(
    State(mut calls): State<CallsClient>,
    _admin: AdminUser,
) -> Result<Json<CleanUpAnswer>> {
    let cleaned = calls.clean_up(CleanUpRequest {}).await?.into_inner();
    Ok(Json(cleaned.into()))
}

fn end_reason(name: Option<&str>) -> Result<EndReason, Error> {
    match name.unwrap_or("completed") {
        "completed" | "user_ended" => Ok(EndReason::Completed),
        "dropped" | "technical_issue" => Ok(EndReason::Dropped),
        "cancelled" => Ok(EndReason::Cancelled),
        "coin_empty" => Ok(EndReason::CoinEmpty),
        _ => Err(Error::invalid(
            "invalid_reason",
            "reason must be completed, user_ended, dropped, technical_issue, cancelled or coin_empty.",
        )),
    }
}
