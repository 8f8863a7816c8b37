//! The gRPC service of presence: checks requests and converts messages.

use talktime_kit::grpc::server::refuse;
use talktime_kit::{Error, trace};
use talktime_proto::presence::v1 as pb;
use talktime_proto::presence::v1::presence_service_server::PresenceService;
use talktime_proto::{datetime, timestamp};
use tonic::{Request, Response, Status};

use crate::changes::ReportedStatusChange;
use crate::domain::{
    PresenceError, SessionChange, StatusChange, StatusSettingsChange, UserStatus, check_call,
    check_call_changes, check_heartbeats, check_session_changes, check_settings, check_user_ids,
};
use crate::heartbeats::HeartbeatRecorder;
use crate::jobs::sweep::StatusSweeper;
use crate::session_changes::SessionChangeRecorder;
use crate::statuses::StatusService;

/// The gRPC service.
pub struct PresenceGrpcApi {
    statuses: StatusService,
    heartbeats: HeartbeatRecorder,
    sessions: SessionChangeRecorder,
    sweeper: StatusSweeper,
}

impl PresenceGrpcApi {
    /// Returns the service on top of the operations of presence.
    pub fn new(
        statuses: StatusService,
        heartbeats: HeartbeatRecorder,
        sessions: SessionChangeRecorder,
        sweeper: StatusSweeper,
    ) -> Self {
        Self {
            statuses,
            heartbeats,
            sessions,
            sweeper,
        }
    }
}

#[tonic::async_trait]
impl PresenceService for PresenceGrpcApi {
    async fn get_status(
        &self,
        request: Request<pb::GetStatusRequest>,
    ) -> Result<Response<pb::Status>, Status> {
        let user_id = request.into_inner().user_id;
        let status = self.statuses.find_status(user_id).await.map_err(refused)?;
        Ok(Response::new(status_message(status)))
    }

    async fn get_statuses(
        &self,
        request: Request<pb::GetStatusesRequest>,
    ) -> Result<Response<pb::GetStatusesResponse>, Status> {
        let user_ids = check_user_ids(request.into_inner().user_ids).map_err(refused)?;
        let statuses = self
            .statuses
            .find_statuses(&user_ids)
            .await
            .map_err(refused)?;
        let statuses = statuses.into_iter().map(status_message).collect();
        Ok(Response::new(pb::GetStatusesResponse { statuses }))
    }

    async fn update_status(
        &self,
        request: Request<pb::UpdateStatusRequest>,
    ) -> Result<Response<pb::Status>, Status> {
        let request = request.into_inner();
        let settings = StatusSettingsChange {
            is_online: request.is_online,
            is_busy: request.is_busy,
            wait_time: request.wait_time,
            accepting_calls: request.accepting_calls,
            accepted_at: datetime(request.accepted_at.as_ref()),
        };
        let settings = check_settings(settings).map_err(refused)?;
        let statuses = &self.statuses;
        let updated = statuses.update_settings(request.user_id, settings, &request.session_id);
        Ok(Response::new(status_message(
            updated.await.map_err(refused)?,
        )))
    }

    async fn heartbeat_many(
        &self,
        request: Request<pb::HeartbeatManyRequest>,
    ) -> Result<Response<pb::HeartbeatManyResponse>, Status> {
        let pb::HeartbeatManyRequest {
            user_ids,
            session_ids,
            accepted_at_micros,
        } = request.into_inner();
        let heartbeats = check_heartbeats(user_ids, session_ids, accepted_at_micros);
        let heartbeats = heartbeats.map_err(refused)?;
        let unknown = self.heartbeats.record(heartbeats).await.map_err(refused)?;
        Ok(Response::new(pb::HeartbeatManyResponse {
            unknown_user_ids: unknown,
        }))
    }

    async fn list_online(
        &self,
        request: Request<pb::ListOnlineRequest>,
    ) -> Result<Response<pb::ListOnlineResponse>, Status> {
        let pb::ListOnlineRequest {
            listeners_only,
            limit,
        } = request.into_inner();
        let online = self.statuses.list_online(listeners_only, limit).await;
        let online = online.map_err(refused)?;
        Ok(Response::new(pb::ListOnlineResponse {
            statuses: online.statuses.into_iter().map(status_message).collect(),
            has_more: online.has_more,
        }))
    }

    async fn clean_up(
        &self,
        _request: Request<pb::CleanUpRequest>,
    ) -> Result<Response<pb::CleanUpResponse>, Status> {
        let counts = self.sweeper.run_now().await.map_err(refused)?;
        let wire = |count| i64::try_from(count).unwrap_or(i64::MAX);
        Ok(Response::new(pb::CleanUpResponse {
            users_marked_offline: wire(counts.marked_offline),
            busy_status_cleared: wire(counts.busy_cleared),
        }))
    }

    async fn set_online(
        &self,
        request: Request<pb::SetOnlineRequest>,
    ) -> Result<Response<pb::Status>, Status> {
        let change =
            reported_session_change(request.into_inner(), trace::current()).map_err(refused)?;
        let mut statuses = self
            .sessions
            .record_all(vec![change])
            .await
            .map_err(refused)?;
        let status = statuses.pop().flatten();
        let status = status.ok_or_else(|| refused(PresenceError::UserNotFound))?;
        Ok(Response::new(status_message(status)))
    }

    async fn follow_sessions(
        &self,
        request: Request<pb::FollowSessionsRequest>,
    ) -> Result<Response<pb::FollowSessionsResponse>, Status> {
        let changes = request.into_inner().changes;
        check_session_changes(changes.len()).map_err(refused)?;
        let changes = changes.into_iter().map(|change| {
            let session = change.session.unwrap_or_default();
            reported_session_change(session, trace::named_or_current(change.traceparent))
        });
        let changes: Result<Vec<ReportedStatusChange>, PresenceError> = changes.collect();
        let changes = changes.map_err(refused)?;
        self.sessions.record_all(changes).await.map_err(refused)?;
        Ok(Response::new(pb::FollowSessionsResponse {}))
    }

    async fn follow_calls(
        &self,
        request: Request<pb::FollowCallsRequest>,
    ) -> Result<Response<pb::FollowCallsResponse>, Status> {
        let changes = request.into_inner().changes;
        check_call_changes(changes.len()).map_err(refused)?;
        let reported: Result<Vec<ReportedStatusChange>, PresenceError> =
            changes.into_iter().map(reported_change).collect();
        let reported = reported.map_err(refused)?;
        self.statuses
            .apply_call_changes(&reported)
            .await
            .map_err(refused)?;
        Ok(Response::new(pb::FollowCallsResponse {}))
    }
}

fn refused(error: PresenceError) -> Status {
    refuse(Error::from(error))
}

fn reported_change(change: pb::CallChange) -> Result<ReportedStatusChange, PresenceError> {
    let pb::CallChange {
        call_id,
        user_ids,
        change,
        traceparent,
    } = change;
    check_call(call_id, &user_ids)?;
    let change = match change.ok_or(PresenceError::InvalidCall)? {
        pb::call_change::Change::Began(pb::CallBegan { wait_time }) => {
            StatusChange::CallBegan { call_id, wait_time }
        }
        pb::call_change::Change::Ended(pb::CallEnded {}) => StatusChange::CallEnded { call_id },
    };
    Ok(ReportedStatusChange {
        user_ids,
        change,
        traceparent: trace::named_or_current(traceparent),
    })
}

fn reported_session_change(
    request: pb::SetOnlineRequest,
    traceparent: Option<String>,
) -> Result<ReportedStatusChange, PresenceError> {
    let session = SessionChange {
        is_online: request.is_online,
        happened_at: datetime(request.happened_at.as_ref())
            .ok_or(PresenceError::MissingHappenedAt)?,
        username: request.username,
        ended_session_ids: request.ended_session_ids,
    };
    Ok(ReportedStatusChange {
        user_ids: vec![request.user_id],
        change: StatusChange::Session(session),
        traceparent,
    })
}

fn status_message(status: UserStatus) -> pb::Status {
    pb::Status {
        user_id: status.user_id,
        username: status.username,
        is_online: status.is_online,
        is_busy: status.is_busy,
        wait_time: status.wait_time,
        last_seen: Some(timestamp(status.last_seen)),
        created_at: Some(timestamp(status.created_at)),
        updated_at: Some(timestamp(status.updated_at)),
        version: status.version,
        is_listener: status.is_listener,
        accepting_calls: Some(status.accepting_calls),
    }
}
