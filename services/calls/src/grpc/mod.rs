//! The gRPC API of the calls service, which the gateway uses.

mod badges;
mod convert;
mod lookups;
mod relay;
mod rings;
mod seats;

use talktime_kit::Error;
use talktime_kit::grpc::server::refuse;
use talktime_kit::paging::ListPageRequest;
use talktime_proto::calls::v1::calls_service_server::CallsService;
use talktime_proto::calls::v1::{
    self as wire, BillMinuteRequest, BillMinuteResponse, CleanUpRequest, CleanUpResponse,
    EmergencyEndCallRequest, EndCallRequest, EndCallResponse, GetActivityRequest,
    GetActivityResponse, GetOngoingRequest, GetOngoingResponse, GetRatesRequest, GetRatesResponse,
    GetReceiptRequest, GetReceiptResponse, GetSummaryRequest, GetSummaryResponse, ListCallsRequest,
    ListCallsResponse, RateCallRequest, RateCallResponse, StartCallRequest, StartCallResponse,
};
use talktime_proto::timestamp;
use tonic::{Request, Response, Status};

use self::convert::{ongoing_call, parse_start_request};
pub(crate) use self::relay::RelayApi;
use crate::badges::BadgeService;
use crate::domain::call::CallType;
use crate::domain::rating::CallRating;
use crate::media::wire_media_state;
use crate::service::CallService;

fn into_status(error: impl Into<Error>) -> Status {
    refuse(error.into())
}

pub(crate) struct CallsGrpcApi {
    calls: CallService,
    badges: BadgeService,
}

impl CallsGrpcApi {
    pub(crate) fn new(calls: CallService, badges: BadgeService) -> Self {
        Self { calls, badges }
    }

    async fn end_in_emergency(
        &self,
        request: EmergencyEndCallRequest,
        as_admin: bool,
    ) -> Result<Response<EndCallResponse>, Status> {
        let end = convert::parse_emergency_end_request(request, as_admin).map_err(into_status)?;
        let ended = self.calls.end_call(&end).await.map_err(into_status)?;
        Ok(Response::new(convert::end_response(ended)))
    }
}

#[tonic::async_trait]
impl CallsService for CallsGrpcApi {
    async fn start_call(
        &self,
        request: Request<StartCallRequest>,
    ) -> Result<Response<StartCallResponse>, Status> {
        let start = parse_start_request(request.get_ref()).map_err(into_status)?;
        let started = self.calls.start_call(&start).await.map_err(into_status)?;
        Ok(Response::new(rings::start_response(&start, &started)))
    }

    async fn accept_call(
        &self,
        request: Request<wire::AcceptCallRequest>,
    ) -> Result<Response<wire::AcceptCallResponse>, Status> {
        let accept = rings::parse_accept_request(request.into_inner());
        let accepted = self.calls.accept_call(&accept).await.map_err(into_status)?;
        Ok(Response::new(rings::accept_response(accepted)))
    }

    async fn decline_call(
        &self,
        request: Request<wire::DeclineCallRequest>,
    ) -> Result<Response<wire::DeclineCallResponse>, Status> {
        let decline = rings::parse_decline_request(request.get_ref());
        let declined = self
            .calls
            .decline_call(decline)
            .await
            .map_err(into_status)?;
        Ok(Response::new(rings::decline_response(&declined)))
    }

    async fn cancel_call(
        &self,
        request: Request<wire::CancelCallRequest>,
    ) -> Result<Response<wire::CancelCallResponse>, Status> {
        let wire::CancelCallRequest { call_id, user_id } = request.into_inner();
        let cancelled = self.calls.cancel_call(call_id, user_id).await;
        let cancelled = cancelled.map_err(into_status)?;
        Ok(Response::new(rings::cancel_response(&cancelled)))
    }

    async fn acknowledge_ring(
        &self,
        request: Request<wire::AcknowledgeRingRequest>,
    ) -> Result<Response<wire::AcknowledgeRingResponse>, Status> {
        let wire::AcknowledgeRingRequest { call_id, user_id } = request.into_inner();
        let call = self.calls.acknowledge_ring(call_id, user_id).await;
        let call = call.map_err(into_status)?;
        Ok(Response::new(wire::AcknowledgeRingResponse {
            call_id,
            ring_expires_at: call.ring_expires_at.map(timestamp),
        }))
    }

    async fn get_call_state(
        &self,
        request: Request<wire::GetCallStateRequest>,
    ) -> Result<Response<wire::GetCallStateResponse>, Status> {
        let wire::GetCallStateRequest {
            user_id,
            call_id,
            session_id,
        } = request.into_inner();
        let call = self.calls.find_call_state(user_id, call_id).await;
        let call = call.map_err(into_status)?;
        let state = call.map(|call| rings::call_state(&call, user_id, &session_id));
        Ok(Response::new(wire::GetCallStateResponse { state }))
    }

    async fn list_unanswered(
        &self,
        request: Request<wire::ListUnansweredRequest>,
    ) -> Result<Response<wire::ListUnansweredResponse>, Status> {
        let direction = request
            .get_ref()
            .direction
            .map(|_| request.get_ref().direction());
        let request = request.into_inner();
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let listed = self.calls.list_unanswered(
            request.user_id,
            direction.and_then(rings::parse_direction),
            page,
        );
        let page = listed.await.map_err(into_status)?;
        Ok(Response::new(rings::unanswered_response(page)))
    }

    async fn mark_unanswered_seen(
        &self,
        request: Request<wire::MarkUnansweredSeenRequest>,
    ) -> Result<Response<wire::MarkUnansweredSeenResponse>, Status> {
        let wire::MarkUnansweredSeenRequest { user_id } = request.into_inner();
        let marked = self.calls.mark_unanswered_seen(user_id).await;
        marked.map_err(into_status)?;
        Ok(Response::new(wire::MarkUnansweredSeenResponse {}))
    }

    async fn join_call(
        &self,
        request: Request<wire::JoinCallRequest>,
    ) -> Result<Response<wire::JoinCallResponse>, Status> {
        let join = seats::parse_join_request(request.into_inner());
        let joined = self.calls.join_call(&join).await.map_err(into_status)?;
        let response = seats::join_response(joined, self.calls.terms.media);
        Ok(Response::new(response))
    }

    async fn refresh_seat(
        &self,
        request: Request<wire::RefreshSeatRequest>,
    ) -> Result<Response<wire::RefreshSeatResponse>, Status> {
        let refresh = seats::parse_refresh_request(request.into_inner());
        let servers = self.calls.refresh_seat(refresh).await;
        let response = seats::refresh_response(servers.map_err(into_status)?);
        Ok(Response::new(response))
    }

    async fn leave_seat(
        &self,
        request: Request<wire::LeaveSeatRequest>,
    ) -> Result<Response<wire::LeaveSeatResponse>, Status> {
        let leave = seats::parse_leave_request(request.into_inner());
        self.calls.leave_seat(leave).await.map_err(into_status)?;
        Ok(Response::new(wire::LeaveSeatResponse {}))
    }

    async fn report_media(
        &self,
        request: Request<wire::ReportMediaRequest>,
    ) -> Result<Response<wire::ReportMediaResponse>, Status> {
        let request = request.into_inner();
        let report = seats::parse_media_report(&request).map_err(into_status)?;
        let state = self.calls.report_media(report).await.map_err(into_status)?;
        Ok(Response::new(wire::ReportMediaResponse {
            state: Some(wire_media_state(request.call_id, state)),
        }))
    }

    async fn end_call(
        &self,
        request: Request<EndCallRequest>,
    ) -> Result<Response<EndCallResponse>, Status> {
        let end = convert::parse_end_request(request.into_inner()).map_err(into_status)?;
        let ended = self.calls.end_call(&end).await.map_err(into_status)?;
        Ok(Response::new(convert::end_response(ended)))
    }

    async fn emergency_end_call(
        &self,
        request: Request<EmergencyEndCallRequest>,
    ) -> Result<Response<EndCallResponse>, Status> {
        self.end_in_emergency(request.into_inner(), false).await
    }

    async fn end_call_as_admin(
        &self,
        request: Request<EmergencyEndCallRequest>,
    ) -> Result<Response<EndCallResponse>, Status> {
        self.end_in_emergency(request.into_inner(), true).await
    }

    async fn clean_up(
        &self,
        _request: Request<CleanUpRequest>,
    ) -> Result<Response<CleanUpResponse>, Status> {
        let swept = self.calls.sweep_all_due().await.map_err(into_status)?;
        Ok(Response::new(convert::clean_up_response(swept)))
    }

    async fn bill_minute(
        &self,
        request: Request<BillMinuteRequest>,
    ) -> Result<Response<BillMinuteResponse>, Status> {
        let billing = convert::parse_billing_request(request.into_inner()).map_err(into_status)?;
        let billed = self.calls.bill_minute(&billing).await;
        let billed = billed.map_err(into_status)?;
        let answer = convert::billing_response(billing.call_id, billed);
        Ok(Response::new(answer))
    }

    async fn get_ongoing(
        &self,
        request: Request<GetOngoingRequest>,
    ) -> Result<Response<GetOngoingResponse>, Status> {
        let ongoing = self
            .calls
            .find_ongoing(request.into_inner().user_id)
            .await
            .map_err(into_status)?;
        let now = self.calls.clock.now();
        let call = ongoing.map(|(call, remaining_coins)| ongoing_call(call, remaining_coins, now));
        Ok(Response::new(GetOngoingResponse { call }))
    }

    async fn list_calls(
        &self,
        request: Request<ListCallsRequest>,
    ) -> Result<Response<ListCallsResponse>, Status> {
        let request = request.into_inner();
        let filter = convert::parse_history_filter(&request);
        let page = ListPageRequest::new(request.page, request.per_page).map_err(refuse)?;
        let listed = self.calls.list_calls(filter, page).await;
        let (calls, totals) = listed.map_err(into_status)?;
        Ok(Response::new(ListCallsResponse {
            calls: calls.into_iter().map(convert::past_call).collect(),
            total_calls: totals.total_calls,
            total_coins_spent: totals.coins_spent,
            total_paise_spent: totals.paise_spent,
            total_paise_earned: totals.paise_earned,
        }))
    }

    async fn get_summary(
        &self,
        request: Request<GetSummaryRequest>,
    ) -> Result<Response<GetSummaryResponse>, Status> {
        let summary = self.calls.load_summary(request.into_inner().user_id).await;
        let summary = summary.map_err(into_status)?;
        Ok(Response::new(convert::summary_response(summary)))
    }

    async fn get_receipt(
        &self,
        request: Request<GetReceiptRequest>,
    ) -> Result<Response<GetReceiptResponse>, Status> {
        let GetReceiptRequest { call_id, user_id } = request.into_inner();
        let loaded = self.calls.load_receipt(call_id, user_id).await;
        let (call, minutes) = loaded.map_err(into_status)?;
        Ok(Response::new(convert::receipt_response(call, minutes)))
    }

    async fn rate_call(
        &self,
        request: Request<RateCallRequest>,
    ) -> Result<Response<RateCallResponse>, Status> {
        let request = request.into_inner();
        let rating = CallRating::new(request.stars, request.comment).map_err(into_status)?;
        let rated = self
            .calls
            .rate_call(request.call_id, request.user_id, &rating);
        Ok(Response::new(RateCallResponse {
            listener_id: rated.await.map_err(into_status)?,
        }))
    }

    async fn get_listener_card(
        &self,
        request: Request<wire::GetListenerCardRequest>,
    ) -> Result<Response<wire::ListenerCard>, Status> {
        let wire::GetListenerCardRequest {
            caller_id,
            listener_id,
        } = request.into_inner();
        let card = self
            .calls
            .load_listener_card(&self.badges, caller_id, listener_id)
            .await
            .map_err(into_status)?;
        Ok(Response::new(badges::listener_card(card)))
    }

    async fn get_rates(
        &self,
        _request: Request<GetRatesRequest>,
    ) -> Result<Response<GetRatesResponse>, Status> {
        let rate = |call_type| convert::minute_rate(self.calls.minute_rate(call_type));
        Ok(Response::new(GetRatesResponse {
            audio: Some(rate(CallType::Audio)),
            video: Some(rate(CallType::Video)),
        }))
    }

    async fn filter_live(
        &self,
        request: Request<wire::FilterLiveRequest>,
    ) -> Result<Response<wire::FilterLiveResponse>, Status> {
        self.find_live(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn filter_counterparts(
        &self,
        request: Request<wire::FilterCounterpartsRequest>,
    ) -> Result<Response<wire::FilterCounterpartsResponse>, Status> {
        self.find_counterparts(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn get_listener_totals(
        &self,
        request: Request<wire::GetListenerTotalsRequest>,
    ) -> Result<Response<wire::GetListenerTotalsResponse>, Status> {
        self.find_listener_totals(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn prepare_deletion(
        &self,
        request: Request<wire::PrepareDeletionRequest>,
    ) -> Result<Response<wire::PrepareDeletionResponse>, Status> {
        let user_id = request.into_inner().user_id;
        let is_on_a_call = self.calls.prepare_deletion(user_id).await;
        Ok(Response::new(wire::PrepareDeletionResponse {
            is_on_a_call: is_on_a_call.map_err(into_status)?,
        }))
    }

    async fn get_standing(
        &self,
        request: Request<wire::GetStandingRequest>,
    ) -> Result<Response<wire::GetStandingResponse>, Status> {
        let listener_id = request.into_inner().listener_id;
        let standing = self
            .badges
            .load_standing(listener_id)
            .await
            .map_err(into_status)?;
        Ok(Response::new(badges::standing_response(standing)))
    }

    async fn get_badge(
        &self,
        request: Request<wire::GetBadgeRequest>,
    ) -> Result<Response<wire::Badge>, Status> {
        let wire::GetBadgeRequest { listener_id, date } = request.into_inner();
        let date = badges::parse_date(date).map_err(into_status)?;
        let badge = self.badges.find_badge(listener_id, date).await;
        Ok(Response::new(badges::badge(badge.map_err(into_status)?)))
    }

    async fn list_badges(
        &self,
        request: Request<wire::ListBadgesRequest>,
    ) -> Result<Response<wire::ListBadgesResponse>, Status> {
        let request = request.into_inner();
        let first = badges::parse_date(request.first_date).map_err(into_status)?;
        let last = badges::parse_date(request.last_date).map_err(into_status)?;
        let listed = self
            .badges
            .list_badges(request.listener_id, first, last)
            .await
            .map_err(into_status)?;
        Ok(Response::new(wire::ListBadgesResponse {
            badges: listed.into_iter().map(badges::badge).collect(),
        }))
    }

    async fn get_badge_statistics(
        &self,
        request: Request<wire::GetBadgeStatisticsRequest>,
    ) -> Result<Response<wire::GetBadgeStatisticsResponse>, Status> {
        let request = request.into_inner();
        let first = badges::parse_date(request.first_date).map_err(into_status)?;
        let last = badges::parse_date(request.last_date).map_err(into_status)?;
        let counted = self.badges.load_statistics(first, last).await;
        let statistics = counted.map_err(into_status)?;
        Ok(Response::new(badges::statistics_response(statistics)))
    }

    async fn assign_badges(
        &self,
        request: Request<wire::AssignBadgesRequest>,
    ) -> Result<Response<wire::AssignBadgesResponse>, Status> {
        let date = badges::parse_date(request.into_inner().date).map_err(into_status)?;
        let assigned = self.badges.assign_badges(date).await.map_err(into_status)?;
        Ok(Response::new(badges::assign_response(assigned)))
    }

    async fn get_activity(
        &self,
        _request: Request<GetActivityRequest>,
    ) -> Result<Response<GetActivityResponse>, Status> {
        let activity = self.calls.load_activity().await.map_err(into_status)?;
        Ok(Response::new(convert::activity_response(
            activity.coarsen(),
        )))
    }

    async fn get_exact_activity(
        &self,
        _request: Request<wire::GetExactActivityRequest>,
    ) -> Result<Response<GetActivityResponse>, Status> {
        let activity = self.calls.load_activity().await.map_err(into_status)?;
        Ok(Response::new(convert::activity_response(activity)))
    }
}
