//! Converts between the wire and the domain.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::idempotency;
use talktime_proto::calls::v1::{
    self as wire, BillMinuteRequest, CleanUpResponse, EmergencyEndCallRequest, EndCallRequest,
    EndCallResponse, EndReason, GetActivityResponse, GetReceiptResponse, GetSummaryResponse,
    ListCallsRequest, OngoingCall, StartCallRequest,
};
use talktime_proto::timestamp;

use crate::bulk_lookups::ListenerTalkTotals;
use crate::domain::CallError;
use crate::domain::activity::PlatformActivity;
use crate::domain::call::{self, Call, CallMedia, CallType};
use crate::domain::ending;
use crate::history::{
    CallHistoryEntry, CallHistoryFilter, CallHistorySummary, MinuteRate, MonthlyCallTotals,
    ReceiptMinute,
};
use crate::saga::{
    BILL_ROUTE, CallStartRequest, EMERGENCY_END_ROUTE, END_ROUTE, EndedCall, HangUpRequest,
    MinuteBillingOutcome, MinuteBillingRequest, START_ROUTE, SagaSweepOutcome,
};

/// A call does not end longer ago than this, however long nobody could end it: 15 minutes.
const WAITED_MAX_MS: i64 = 15 * 60 * 1_000;

pub(super) fn parse_start_request(
    request: &StartCallRequest,
) -> Result<CallStartRequest, CallError> {
    let call_type = domain_type(request.call_type()).ok_or(CallError::UnknownCallType)?;
    let media = parse_media(request.media());
    let body = (
        request.listener_id,
        call_type.name(),
        request.estimated_duration_minutes,
    );
    // The body of a call that begins at once has the form from before calls could ring, so that old keys match it.
    let request_for_key = |key| {
        let caller_id = request.caller_id;
        if request.ring {
            let body = (body, "ring", media);
            idempotency::KeyedRequest::new(caller_id, START_ROUTE, key, &body)
        } else {
            idempotency::KeyedRequest::new(caller_id, START_ROUTE, key, &body)
        }
    };
    let idempotency = request
        .idempotency_key
        .clone()
        .map(request_for_key)
        .transpose()?;
    Ok(CallStartRequest {
        caller_id: request.caller_id,
        listener_id: request.listener_id,
        call_type,
        estimated_minutes: request.estimated_duration_minutes,
        ring: request.ring,
        media,
        idempotency,
    })
}

pub(super) fn parse_end_request(request: EndCallRequest) -> Result<HangUpRequest, CallError> {
    let reason = request.reason();
    let status = status_for_reason(reason);
    let body = (request.call_id, status.name());
    let idempotency = request
        .idempotency_key
        .map(|key| idempotency::KeyedRequest::new(request.user_id, END_ROUTE, key, &body))
        .transpose()?;
    Ok(HangUpRequest {
        call_id: request.call_id,
        user_id: request.user_id,
        as_admin: false,
        status,
        waited: TimeDelta::milliseconds(request.waited_ms.clamp(0, WAITED_MAX_MS)),
        reason: end_reason(reason),
        idempotency,
    })
}

pub(super) fn parse_billing_request(
    request: BillMinuteRequest,
) -> Result<MinuteBillingRequest, CallError> {
    let BillMinuteRequest {
        call_id, user_id, ..
    } = request;
    let idempotency = request
        .idempotency_key
        .map(|key| idempotency::KeyedRequest::new(user_id, BILL_ROUTE, key, &call_id))
        .transpose()?;
    Ok(MinuteBillingRequest {
        call_id,
        user_id,
        idempotency,
    })
}

pub(super) fn parse_emergency_end_request(
    request: EmergencyEndCallRequest,
    as_admin: bool,
) -> Result<HangUpRequest, CallError> {
    let (user_id, body) = (request.user_id, request.call_id);
    let idempotency = request
        .idempotency_key
        .map(|key| idempotency::KeyedRequest::new(user_id, EMERGENCY_END_ROUTE, key, &body))
        .transpose()?;
    Ok(HangUpRequest {
        call_id: request.call_id,
        user_id,
        as_admin,
        status: call::CallStatus::Dropped,
        waited: TimeDelta::zero(),
        reason: ending::CallEndReason::HungUp,
        idempotency,
    })
}

pub(super) fn end_response(ended: EndedCall) -> EndCallResponse {
    let EndedCall {
        call,
        remaining_coins,
    } = ended;
    EndCallResponse {
        call_id: call.call_id,
        duration_seconds: call.duration_seconds.unwrap_or_default(),
        duration_minutes: call.duration_minutes.unwrap_or_default(),
        coins_spent: call.coins_spent,
        user_money_spend_paise: call.user_paise_spent,
        listener_paise_earned: call.listener_paise_earned,
        remaining_coins,
        status: wire_status(final_status(call.status)).into(),
        end_reason: call.end_reason.map(|reason| reason.name().to_owned()),
        ended_by: call.ended_by.map(|party| party.name().to_owned()),
    }
}

/// The status of a call that was ended: a ring was taken back, in a word that every client knows.
fn final_status(status: call::CallStatus) -> call::CallStatus {
    match status {
        call::CallStatus::Unanswered | call::CallStatus::Connecting => call::CallStatus::Cancelled,
        status => status,
    }
}

pub(super) fn billing_response(
    call_id: i64,
    billed: MinuteBillingOutcome,
) -> wire::BillMinuteResponse {
    wire::BillMinuteResponse {
        call_id,
        coins_deducted: billed.coins_deducted,
        remaining_coins: billed.remaining_coins,
        total_coins_spent: billed.total_coins_spent,
        minutes_billed: billed.minutes_billed,
    }
}

pub(super) fn clean_up_response(swept: SagaSweepOutcome) -> CleanUpResponse {
    let count = |calls: usize| i64::try_from(calls).unwrap_or(i64::MAX);
    CleanUpResponse {
        calls_ended: count(swept.ended),
        calls_settled: count(swept.settled),
        calls_undone: count(swept.undone),
    }
}

pub(super) fn ongoing_call(
    call: Call,
    remaining_coins: Option<i64>,
    now: DateTime<Utc>,
) -> OngoingCall {
    let talked_secs = call
        .start_time
        .map_or(0, |start| (now - start).num_seconds().max(0));
    OngoingCall {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: wire_type(call.call_type).into(),
        start_time: call.start_time.map(timestamp),
        duration_seconds: talked_secs,
        coins_spent: call.coins_spent,
        remaining_coins,
        caller_username: call.caller_username,
        listener_username: call.listener_username,
        coins_per_minute: call.coins_per_minute,
    }
}

fn status_for_reason(reason: EndReason) -> call::CallStatus {
    match reason {
        EndReason::Unspecified | EndReason::Completed => call::CallStatus::Completed,
        EndReason::Dropped | EndReason::CoinEmpty => call::CallStatus::Dropped,
        EndReason::Cancelled => call::CallStatus::Cancelled,
    }
}

fn end_reason(reason: EndReason) -> ending::CallEndReason {
    match reason {
        EndReason::Unspecified | EndReason::Completed | EndReason::Cancelled => {
            ending::CallEndReason::HungUp
        }
        EndReason::Dropped => ending::CallEndReason::MediaLost,
        EndReason::CoinEmpty => ending::CallEndReason::CoinsEmpty,
    }
}

pub(super) fn wire_type(call_type: CallType) -> wire::CallType {
    match call_type {
        CallType::Audio => wire::CallType::Audio,
        CallType::Video => wire::CallType::Video,
    }
}

pub(super) fn wire_status(status: call::CallStatus) -> wire::CallStatus {
    match status {
        call::CallStatus::Ringing => wire::CallStatus::Ringing,
        call::CallStatus::Connecting => wire::CallStatus::Connecting,
        call::CallStatus::Ongoing => wire::CallStatus::Ongoing,
        call::CallStatus::Completed => wire::CallStatus::Completed,
        call::CallStatus::Dropped => wire::CallStatus::Dropped,
        call::CallStatus::Cancelled => wire::CallStatus::Cancelled,
        call::CallStatus::Unanswered => wire::CallStatus::Unanswered,
    }
}

pub(super) fn parse_history_filter(request: &ListCallsRequest) -> CallHistoryFilter {
    let call_type = request.call_type.map(|_| request.call_type());
    let status = request.status.map(|_| request.status());
    CallHistoryFilter {
        user_id: request.user_id,
        call_type: call_type.and_then(domain_type),
        status: status.and_then(domain_status),
    }
}

fn domain_type(call_type: wire::CallType) -> Option<CallType> {
    match call_type {
        wire::CallType::Audio => Some(CallType::Audio),
        wire::CallType::Video => Some(CallType::Video),
        wire::CallType::Unspecified => None,
    }
}

fn domain_status(status: wire::CallStatus) -> Option<call::CallStatus> {
    match status {
        wire::CallStatus::Ongoing => Some(call::CallStatus::Ongoing),
        wire::CallStatus::Completed => Some(call::CallStatus::Completed),
        wire::CallStatus::Dropped => Some(call::CallStatus::Dropped),
        wire::CallStatus::Cancelled => Some(call::CallStatus::Cancelled),
        wire::CallStatus::Unspecified
        | wire::CallStatus::Ringing
        | wire::CallStatus::Connecting
        | wire::CallStatus::Unanswered => None,
    }
}

pub(super) fn past_call(call: CallHistoryEntry) -> wire::Call {
    wire::Call {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: wire_type(call.call_type).into(),
        status: wire_status(call.status).into(),
        start_time: Some(timestamp(call.start_time)),
        end_time: call.end_time.map(timestamp),
        duration_seconds: call.duration_seconds,
        duration_minutes: call.duration_minutes,
        coins_spent: call.coins_spent,
        user_money_spend_paise: call.user_paise_spent,
        listener_paise_earned: call.listener_paise_earned,
        caller_username: call.caller_username,
        listener_username: call.listener_username,
        created_at: Some(timestamp(call.created_at)),
        updated_at: Some(timestamp(call.updated_at)),
        end_reason: call.end_reason.map(|reason| reason.name().to_owned()),
        ended_by: call.ended_by.map(|party| party.name().to_owned()),
    }
}

pub(super) fn receipt_response(
    call: CallHistoryEntry,
    minutes: Vec<ReceiptMinute>,
) -> GetReceiptResponse {
    GetReceiptResponse {
        coins_per_minute: call.coins_per_minute,
        listener_paise_per_minute: call.listener_paise_per_minute,
        listener_badge: call.listener_badge.name().to_owned(),
        prices_version: call.prices_version,
        call: Some(past_call(call)),
        minutes: minutes.into_iter().map(receipt_minute).collect(),
    }
}

pub(super) fn activity_response(activity: PlatformActivity) -> GetActivityResponse {
    GetActivityResponse {
        active_calls: activity.active_calls,
        calls_today: activity.calls_today,
        avg_duration_seconds: activity.avg_duration_seconds,
        coins_processed: activity.coins_processed,
    }
}

fn receipt_minute(minute: ReceiptMinute) -> wire::ReceiptMinute {
    wire::ReceiptMinute {
        minute: minute.minute,
        begins_at: Some(timestamp(minute.begins_at)),
        coins: minute.coins,
        transfer_id: minute.transfer_id,
        media: minute.media.map(|media| media.name().to_owned()),
        is_refunded: minute.is_refunded,
    }
}

pub(super) fn minute_rate(rate: MinuteRate) -> wire::Rate {
    wire::Rate {
        coins_per_minute: rate.coins_per_minute,
        minimum_coins: rate.coins_per_minute,
        listener_paise_per_minute: rate.listener_paise_per_minute,
    }
}

pub(super) fn summary_response(summary: CallHistorySummary) -> GetSummaryResponse {
    let CallHistorySummary {
        totals,
        recent,
        months,
        calls_this_week,
    } = summary;
    GetSummaryResponse {
        total_calls: totals.total_calls,
        calls_made: totals.calls_made,
        calls_received: totals.total_calls - totals.calls_made,
        completed_calls: totals.completed_calls,
        dropped_calls: totals.dropped_calls,
        ongoing_calls: totals.ongoing_calls,
        audio_calls: totals.audio_calls,
        video_calls: totals.total_calls - totals.audio_calls,
        total_coins_spent: totals.coins_spent,
        total_paise_spent: totals.paise_spent,
        total_paise_earned: totals.paise_earned,
        total_duration_seconds: totals.duration_seconds,
        avg_duration_seconds: totals.avg_duration_seconds,
        recent_calls: recent.into_iter().map(past_call).collect(),
        months: months.into_iter().map(monthly_totals).collect(),
        calls_this_week,
    }
}

fn monthly_totals(month: MonthlyCallTotals) -> wire::Month {
    wire::Month {
        month: month.month,
        calls_count: month.calls_count,
        coins_spent: month.coins_spent,
        paise_earned: month.paise_earned,
    }
}

pub(super) fn listener_totals(totals: ListenerTalkTotals) -> wire::ListenerTotals {
    wire::ListenerTotals {
        listener_id: totals.listener_id,
        call_count: totals.call_count,
        total_call_secs: totals.total_call_secs,
        answer_percent: totals.answer_percent,
    }
}

pub(super) fn parse_media(media: wire::CallMedia) -> Option<CallMedia> {
    match media {
        wire::CallMedia::Own => Some(CallMedia::Own),
        wire::CallMedia::Platform => Some(CallMedia::Platform),
        wire::CallMedia::Unspecified => None,
    }
}
