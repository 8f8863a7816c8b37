//! The history and the statistics of calls (contract, section 7).

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::v1::{
    Call, CallStatus, GetReceiptRequest, GetReceiptResponse, GetSummaryRequest, GetSummaryResponse,
    ListCallsRequest, Month, ReceiptMinute,
};
use utoipa::{IntoParams, ToSchema};

use super::time;
use crate::call_names::{call_type_name, parse_call_type, status_name};
use crate::clients::CallsClient;
use crate::extract::{Json, PathId, Query};
use crate::number::Hundredths;
use crate::openapi::{media_values, values};
use crate::paging::{ClientPageRequest, Pagination};
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
struct CallBody {
    call_id: i64,
    user_id: i64,
    listener_id: i64,
    #[schema(value_type = values::CallType)]
    call_type: &'static str,
    start_time: Option<DateTime<Utc>>,
    end_time: Option<DateTime<Utc>>,
    /// Null while the call is ongoing.
    duration_seconds: Option<i64>,
    /// The number of minutes that were charged. Null while the call is ongoing.
    duration_minutes: Option<i32>,
    coins_spent: i64,
    /// The price of the coins in rupees.
    user_money_spend: Hundredths,
    /// The listener's earnings in rupees.
    listener_money_earned: Hundredths,
    #[schema(value_type = values::CallStatus)]
    status: &'static str,
    /// Null while the call is on, and of calls that ended before this was kept.
    #[schema(value_type = Option<values::CallEndReason>)]
    end_reason: Option<String>,
    /// Null like the reason.
    #[schema(value_type = Option<values::CallEnder>)]
    ended_by: Option<String>,
    caller_username: String,
    listener_username: String,
    created_at: Option<DateTime<Utc>>,
    updated_at: Option<DateTime<Utc>>,
}

impl TryFrom<Call> for CallBody {
    type Error = Error;

    fn try_from(call: Call) -> Result<Self, Error> {
        Ok(Self {
            call_id: call.call_id,
            user_id: call.user_id,
            listener_id: call.listener_id,
            call_type: call_type_name(call.call_type())?,
            start_time: time(call.start_time),
            end_time: time(call.end_time),
            duration_seconds: call.duration_seconds,
            duration_minutes: call.duration_minutes,
            coins_spent: call.coins_spent,
            user_money_spend: Hundredths(call.user_money_spend_paise),
            listener_money_earned: Hundredths(call.listener_paise_earned),
            status: status_name(call.status())?,
            end_reason: call.end_reason,
            ended_by: call.ended_by,
            caller_username: call.caller_username,
            listener_username: call.listener_username,
            created_at: time(call.created_at),
            updated_at: time(call.updated_at),
        })
    }
}

fn bodies(calls: Vec<Call>) -> Result<Vec<CallBody>, Error> {
    calls.into_iter().map(CallBody::try_from).collect()
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct CallHistoryQuery {
    #[param(minimum = 1)]
    page: Option<i64>,
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
    #[param(value_type = Option<values::CallType>, inline)]
    call_type: Option<String>,
    #[param(value_type = Option<values::CallStatus>, inline)]
    status: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = HistoryAnswer)]
pub(super) struct CallHistoryAnswer {
    calls: Vec<CallBody>,
    total_calls: i64,
    total_coins_spent: i64,
    /// The price of the spent coins in rupees.
    total_money_spent: Hundredths,
    /// The earnings as a listener in rupees.
    total_earnings: Hundredths,
    #[serde(flatten)]
    pagination: Pagination,
}

/// List the current user's calls, newest first.
///
/// The list contains the calls that the user made or took.
#[utoipa::path(
    get,
    path = "/calls/history",
    tag = "calls",
    security(("access_token" = [])),
    params(CallHistoryQuery),
    responses(
        (status = 200, body = CallHistoryAnswer),
        (status = 400, description = "invalid_call_type, invalid_status"),
    )
)]
pub(super) async fn list_calls(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
    Query(query): Query<CallHistoryQuery>,
) -> Result<Json<CallHistoryAnswer>> {
    let page = ClientPageRequest::new(query.page, query.per_page)?;
    let call_type = query
        .call_type
        .as_deref()
        .map(parse_call_type)
        .transpose()?;
    let status = query.status.as_deref().map(status).transpose()?;
    let request = ListCallsRequest {
        user_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
        call_type: call_type.map(Into::into),
        status: status.map(Into::into),
    };
    let found = retry_idempotent(&calls, CallsClient::list_calls, request).await?;
    Ok(Json(CallHistoryAnswer {
        calls: bodies(found.calls)?,
        total_calls: found.total_calls,
        total_coins_spent: found.total_coins_spent,
        total_money_spent: Hundredths(found.total_paise_spent),
        total_earnings: Hundredths(found.total_paise_earned),
        pagination: page.with_total(found.total_calls),
    }))
}

fn status(name: &str) -> Result<CallStatus, Error> {
    match name {
        "ongoing" => Ok(CallStatus::Ongoing),
        "completed" => Ok(CallStatus::Completed),
        "dropped" => Ok(CallStatus::Dropped),
        "cancelled" => Ok(CallStatus::Cancelled),
        _ => Err(Error::invalid(
            "invalid_status",
            "status must be ongoing, completed, dropped or cancelled.",
        )),
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = SummaryAnswer)]
pub(super) struct CallSummaryAnswer {
    total_calls: i64,
    /// The duration of all calls in minutes, with one decimal.
    total_duration: Hundredths,
    /// Calls since the first day of the month in India.
    calls_this_month: i64,
    /// Calls since Monday in India.
    calls_this_week: i64,
    summary: CallTotals,
    recent_calls: Vec<CallBody>,
    monthly_stats: Vec<MonthTotalsBody>,
}

#[derive(Serialize, ToSchema)]
struct CallTotals {
    total_calls: i64,
    calls_made: i64,
    calls_received: i64,
    completed_calls: i64,
    dropped_calls: i64,
    ongoing_calls: i64,
    audio_calls: i64,
    video_calls: i64,
    total_coins_spent: i64,
    total_money_spent: Hundredths,
    total_earnings: Hundredths,
    total_duration_seconds: i64,
    avg_duration_seconds: i64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MonthBody)]
struct MonthTotalsBody {
    /// The first day of the month.
    #[schema(format = DateTime, example = "2026-11-01T00:00:00Z")]
    month: String,
    calls_count: i64,
    coins_spent: i64,
    earnings: Hundredths,
}

impl From<&GetSummaryResponse> for CallTotals {
    fn from(summary: &GetSummaryResponse) -> Self {
        Self {
            total_calls: summary.total_calls,
            calls_made: summary.calls_made,
            calls_received: summary.calls_received,
            completed_calls: summary.completed_calls,
            dropped_calls: summary.dropped_calls,
            ongoing_calls: summary.ongoing_calls,
            audio_calls: summary.audio_calls,
            video_calls: summary.video_calls,
            total_coins_spent: summary.total_coins_spent,
            total_money_spent: Hundredths(summary.total_paise_spent),
            total_earnings: Hundredths(summary.total_paise_earned),
            total_duration_seconds: summary.total_duration_seconds,
            avg_duration_seconds: summary.avg_duration_seconds,
        }
    }
}

impl From<Month> for MonthTotalsBody {
    fn from(month: Month) -> Self {
        Self {
            month: format!("{}-01T00:00:00Z", month.month),
            calls_count: month.calls_count,
            coins_spent: month.coins_spent,
            earnings: Hundredths(month.paise_earned),
        }
    }
}

/// Read statistics of the current user's calls.
#[utoipa::path(
    get,
    path = "/calls/history/summary",
    tag = "calls",
    security(("access_token" = [])),
    responses((status = 200, body = CallSummaryAnswer))
)]
pub(super) async fn read_summary(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
) -> Result<Json<CallSummaryAnswer>> {
    let request = GetSummaryRequest {
        user_id: current_user.user_id,
    };
    let found = retry_idempotent(&calls, CallsClient::get_summary, request).await?;
    let this_month = found.months.first();
    Ok(Json(CallSummaryAnswer {
        total_calls: found.total_calls,
        total_duration: Hundredths::from_seconds(found.total_duration_seconds),
        calls_this_month: this_month.map_or(0, |month| month.calls_count),
        calls_this_week: found.calls_this_week,
        summary: CallTotals::from(&found),
        recent_calls: bodies(found.recent_calls)?,
        monthly_stats: found
            .months
            .into_iter()
            .map(MonthTotalsBody::from)
            .collect(),
    }))
}

#[derive(Serialize, ToSchema)]
#[schema(as = ReceiptAnswer)]
pub(super) struct CallReceiptAnswer {
    #[serde(flatten)]
    call: CallBody,
    minutes: Vec<ReceiptMinuteBody>,
    /// The price of a minute in coins, as of the start of the call.
    rate_per_minute: i64,
    /// The listener's rupees a minute, as of the start of the call.
    listener_rate_per_minute: Hundredths,
    #[schema(value_type = values::BadgeName)]
    listener_badge: String,
    /// The version of the price list, as of the start of the call.
    prices_version: Option<i64>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = MinuteBody)]
struct ReceiptMinuteBody {
    minute: i32,
    begins_at: Option<DateTime<Utc>>,
    coins: i64,
    /// The id of the charge in the ledger.
    transfer_id: String,
    /// Whether the caller heard the listener. Null before the settlement, and in calls that the platform does not carry.
    #[schema(value_type = Option<media_values::MediaQuality>)]
    media: Option<String>,
    /// Whether the caller has the coins of the minute back.
    refunded: bool,
}

impl From<ReceiptMinute> for ReceiptMinuteBody {
    fn from(minute: ReceiptMinute) -> Self {
        Self {
            minute: minute.minute,
            begins_at: time(minute.begins_at),
            coins: minute.coins,
            transfer_id: minute.transfer_id,
            media: minute.media,
            refunded: minute.is_refunded,
        }
    }
}

/// Read the receipt of a call.
///
/// Both users of the call may read it. It lists every minute that was charged.
#[utoipa::path(
    get,
    path = "/calls/{call_id}",
    tag = "calls",
    security(("access_token" = [])),
    responses(
        (status = 200, body = CallReceiptAnswer),
        (status = 403, description = "not_a_party"),
        (status = 404, description = "call_not_found"),
    )
)]
pub(super) async fn read_receipt(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
    PathId(call_id): PathId,
) -> Result<Json<CallReceiptAnswer>> {
    let request = GetReceiptRequest {
        call_id,
        user_id: current_user.user_id,
    };
    let GetReceiptResponse {
        call,
        minutes,
        coins_per_minute,
        listener_paise_per_minute,
        listener_badge,
        prices_version,
    } = retry_idempotent(&calls, CallsClient::get_receipt, request).await?;
    let call = call.ok_or_else(|| Error::internal("a receipt without its call"))?;
    Ok(Json(CallReceiptAnswer {
        call: call.try_into()?,
        minutes: minutes.into_iter().map(ReceiptMinuteBody::from).collect(),
        rate_per_minute: coins_per_minute,
        listener_rate_per_minute: Hundredths(listener_paise_per_minute),
        listener_badge,
        prices_version,
    }))
}
