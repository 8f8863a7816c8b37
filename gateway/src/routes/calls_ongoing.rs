//! The current call of a user (contract, section 7).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, ErrorKind};
use talktime_proto::calls::v1::{CallStatus, GetOngoingRequest, OngoingCall};
use utoipa::ToSchema;

use super::time;
use crate::call_names::{call_type_name, status_name};
use crate::clients::CallsClient;
use crate::config::CompatibilityConfig;
use crate::extract::Json;
use crate::openapi::values;
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = OngoingAnswer)]
pub(super) enum OngoingCallAnswer {
    Call(OngoingCallBody),
    None {
        /// Always null.
        call_id: Option<i64>,
        message: &'static str,
    },
}

#[derive(Serialize, ToSchema)]
#[schema(as = OngoingBody)]
pub(super) struct OngoingCallBody {
    call_id: i64,
    user_id: i64,
    listener_id: i64,
    #[schema(value_type = values::CallType)]
    call_type: &'static str,
    start_time: Option<DateTime<Utc>>,
    duration_seconds: i64,
    coins_spent: i64,
    /// The caller's balance in coins. Null for the listener.
    remaining_coins: Option<i64>,
    #[schema(value_type = values::CallStatus)]
    status: &'static str,
    caller_username: String,
    listener_username: String,
    /// The price of a minute in coins.
    cost_per_minute: i64,
}

impl TryFrom<OngoingCall> for OngoingCallBody {
    type Error = Error;

    fn try_from(call: OngoingCall) -> Result<Self, Error> {
        Ok(Self {
            call_id: call.call_id,
            user_id: call.user_id,
            listener_id: call.listener_id,
            call_type: call_type_name(call.call_type())?,
            start_time: time(call.start_time),
            duration_seconds: call.duration_seconds,
            coins_spent: call.coins_spent,
            remaining_coins: call.remaining_coins,
            status: status_name(CallStatus::Ongoing)?,
            caller_username: call.caller_username,
            listener_username: call.listener_username,
            cost_per_minute: call.coins_per_minute,
        })
    }
}

/// Read the current user's ongoing call.
///
/// Without a call, `call_id` is null. The operator may configure the answer 404 (`no_ongoing_call`) instead, for apps of
/// the original back end.
#[utoipa::path(
    get,
    path = "/calls/ongoing",
    tag = "calls",
    security(("access_token" = [])),
    responses(
        (status = 200, body = OngoingCallAnswer),
        (status = 404, description = "no_ongoing_call"),
    )
)]
pub(super) async fn read_ongoing_call(
    State(calls): State<CallsClient>,
    State(compatibility): State<CompatibilityConfig>,
    current_user: CurrentUser,
) -> Result<Json<OngoingCallAnswer>> {
    let user_id = current_user.user_id;
    let answer = retry_idempotent(
        &calls,
        CallsClient::get_ongoing,
        GetOngoingRequest { user_id },
    )
    .await?;
    match answer.call {
        Some(call) => Ok(Json(OngoingCallAnswer::Call(call.try_into()?))),
        None if compatibility.no_call_is_not_found => {
            let detail = "There is no ongoing call.";
            Err(Error::new(ErrorKind::NotFound, "no_ongoing_call", detail).into())
        }
        None => Ok(Json(OngoingCallAnswer::None {
            call_id: None,
            message: "No ongoing call",
        })),
    }
}
