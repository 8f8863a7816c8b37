//! Calls as the gateway sees them.

use talktime_kit::grpc::server::refuse;
use talktime_kit::{Error, idempotency};
use talktime_proto::calls::v1::calls_service_server::CallsService;
use talktime_proto::calls::v1::{
    self as wire, BillMinuteRequest, BillMinuteResponse, EndCallRequest, EndCallResponse,
    EndReason, GetOngoingRequest, GetOngoingResponse, OngoingCall, StartCallRequest,
    StartCallResponse,
};
use talktime_proto::timestamp;
use tonic::{Request, Response, Status};

use crate::domain::CallError;
use crate::domain::call::{self, Call, CallType};
use crate::saga::{Calls, START_ROUTE, Start};

pub(crate) struct CallsApi {
    calls: Calls,
}

impl CallsApi {
    pub(crate) fn new(calls: Calls) -> Self {
        Self { calls }
    }
}

#[tonic::async_trait]
impl CallsService for CallsApi {
    async fn start_call(
        &self,
        request: Request<StartCallRequest>,
    ) -> Result<Response<StartCallResponse>, Status> {
        let start = start_of(request.into_inner()).map_err(refused)?;
        let started = self.calls.start(&start).await.map_err(refused)?;
        Ok(Response::new(StartCallResponse {
            call_id: started.call_id,
            call_duration_minutes: started.minutes_affordable,
            estimated_cost_coins: started.estimated_cost_coins,
            remaining_coins: started.remaining_coins,
            call_type: wire_type(start.call_type).into(),
            listener_id: start.listener_id,
            status: wire::CallStatus::Ongoing.into(),
        }))
    }

    async fn end_call(
        &self,
        request: Request<EndCallRequest>,
    ) -> Result<Response<EndCallResponse>, Status> {
        let request = request.into_inner();
        let status = status_after(request.reason());
        let ended = self
            .calls
            .end(request.call_id, request.user_id, status)
            .await
            .map_err(refused)?;
        Ok(Response::new(EndCallResponse {
            call_id: request.call_id,
            duration_seconds: ended.call.duration_seconds.unwrap_or_default(),
            duration_minutes: ended.call.duration_minutes.unwrap_or_default(),
            coins_spent: ended.call.coins_spent,
            user_money_spend_paise: ended.user_paise_spent,
            listener_paise_earned: ended.call.listener_paise_earned,
            remaining_coins: ended.remaining_coins,
            status: wire_status(ended.call.status).into(),
        }))
    }

    async fn bill_minute(
        &self,
        request: Request<BillMinuteRequest>,
    ) -> Result<Response<BillMinuteResponse>, Status> {
        let BillMinuteRequest { call_id, user_id } = request.into_inner();
        let billed = self
            .calls
            .bill_minute(call_id, user_id)
            .await
            .map_err(refused)?;
        Ok(Response::new(BillMinuteResponse {
            call_id,
            coins_deducted: billed.coins_deducted,
            remaining_coins: billed.remaining_coins,
            total_coins_spent: billed.total_coins_spent,
            minutes_billed: billed.minutes_billed,
        }))
    }

    async fn get_ongoing(
        &self,
        request: Request<GetOngoingRequest>,
    ) -> Result<Response<GetOngoingResponse>, Status> {
        let ongoing = self
            .calls
            .ongoing(request.into_inner().user_id)
            .await
            .map_err(refused)?;
        let now = self.calls.clock.now();
        let call = ongoing.map(|(call, remaining_coins)| ongoing_call(call, remaining_coins, now));
        Ok(Response::new(GetOngoingResponse { call }))
    }
}

fn refused(error: CallError) -> Status {
    refuse(Error::from(error))
}

fn start_of(request: StartCallRequest) -> Result<Start, CallError> {
    let call_type = match request.call_type() {
        wire::CallType::Audio => CallType::Audio,
        wire::CallType::Video => CallType::Video,
        wire::CallType::Unspecified => return Err(CallError::UnknownCallType),
    };
    let body = (
        request.listener_id,
        call_type.word(),
        request.estimated_duration_minutes,
    );
    let idempotency = request
        .idempotency_key
        .map(|key| idempotency::Request::new(request.caller_id, START_ROUTE, key, &body))
        .transpose()?;
    Ok(Start {
        caller_id: request.caller_id,
        listener_id: request.listener_id,
        call_type,
        estimated_minutes: request.estimated_duration_minutes,
        idempotency,
    })
}

fn ongoing_call(
    call: Call,
    remaining_coins: Option<i64>,
    now: chrono::DateTime<chrono::Utc>,
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
    }
}

fn status_after(reason: EndReason) -> call::Status {
    match reason {
        EndReason::Unspecified | EndReason::Completed => call::Status::Completed,
        EndReason::Dropped | EndReason::CoinEmpty => call::Status::Dropped,
        EndReason::Cancelled => call::Status::Cancelled,
    }
}

fn wire_type(call_type: CallType) -> wire::CallType {
    match call_type {
        CallType::Audio => wire::CallType::Audio,
        CallType::Video => wire::CallType::Video,
    }
}

fn wire_status(status: call::Status) -> wire::CallStatus {
    match status {
        call::Status::Ongoing => wire::CallStatus::Ongoing,
        call::Status::Completed => wire::CallStatus::Completed,
        call::Status::Dropped => wire::CallStatus::Dropped,
        call::Status::Cancelled => wire::CallStatus::Cancelled,
    }
}
