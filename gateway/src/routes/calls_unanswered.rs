//! Calls that rang and were not answered.

use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use talktime_kit::Error;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::calls::v1::{
    CallDirection, ListUnansweredRequest, MarkUnansweredSeenRequest, UnansweredCall,
};
use utoipa::{IntoParams, ToSchema};

use super::time;
use crate::call_names::call_type_name;
use crate::clients::{CallsClient, ProfileClient};
use crate::extract::{Json, Query};
use crate::openapi::values;
use crate::paging::{ClientPageRequest, Pagination};
use crate::peer_profiles::{CallPeerProfiles, PeerAnswer};
use crate::problem::Result;
use crate::token::CurrentUser;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct UnansweredCallsQuery {
    #[param(minimum = 1)]
    page: Option<i64>,
    #[param(minimum = 1, maximum = 100)]
    per_page: Option<i64>,
    /// Limits the list to incoming or to outgoing calls.
    #[param(value_type = Option<values::CallDirection>, inline)]
    direction: Option<String>,
}

#[derive(Serialize, ToSchema)]
pub(super) struct UnansweredAnswer {
    calls: Vec<UnansweredCallAnswer>,
    /// The number of incoming calls since the user last marked the list as seen.
    unseen_count: i64,
    #[serde(flatten)]
    pagination: Pagination,
}

#[derive(Serialize, ToSchema)]
struct UnansweredCallAnswer {
    call_id: i64,
    peer: PeerAnswer,
    #[schema(value_type = values::CallType)]
    call_type: &'static str,
    #[schema(value_type = values::CallDirection)]
    direction: &'static str,
    #[schema(value_type = values::RingOutcome)]
    outcome: String,
    #[schema(value_type = values::RingReason)]
    reason: String,
    rung_at: Option<DateTime<Utc>>,
    rung_seconds: i64,
}

impl UnansweredCallAnswer {
    fn new(call: UnansweredCall, profiles: &CallPeerProfiles) -> Result<Self, Error> {
        Ok(Self {
            call_id: call.call_id,
            call_type: call_type_name(call.call_type())?,
            direction: match call.direction() {
                CallDirection::Outgoing => "outgoing",
                _ => "incoming",
            },
            rung_at: time(call.rung_at),
            rung_seconds: call.rung_seconds,
            peer: profiles.describe(call.peer_id, call.peer_username),
            outcome: call.outcome,
            reason: call.reason,
        })
    }
}

/// List unanswered calls.
///
/// The newest call is first. The list contains calls that rang for the current user, and calls of the current user
/// that nobody answered.
#[utoipa::path(
    get,
    path = "/calls/unanswered",
    tag = "calls",
    security(("access_token" = [])),
    params(UnansweredCallsQuery),
    responses(
        (status = 200, body = UnansweredAnswer),
        (status = 400, description = "invalid_direction"),
    )
)]
pub(super) async fn list_unanswered_calls(
    State(calls): State<CallsClient>,
    State(profile): State<ProfileClient>,
    current_user: CurrentUser,
    Query(query): Query<UnansweredCallsQuery>,
) -> Result<Json<UnansweredAnswer>> {
    let page = ClientPageRequest::new(query.page, query.per_page)?;
    let direction = query.direction.as_deref().map(direction).transpose()?;
    let request = ListUnansweredRequest {
        user_id: current_user.user_id,
        page: page.page,
        per_page: page.per_page,
        direction: direction.map(Into::into),
    };
    let found = retry_idempotent(&calls, CallsClient::list_unanswered, request).await?;
    let peer_ids = found.calls.iter().map(|call| call.peer_id).collect();
    let profiles = CallPeerProfiles::load_best_effort(&profile, peer_ids).await;
    let listed = found.calls.into_iter();
    let listed = listed.map(|call| UnansweredCallAnswer::new(call, &profiles));
    Ok(Json(UnansweredAnswer {
        calls: listed.collect::<Result<_, Error>>()?,
        unseen_count: found.unseen_count,
        pagination: page.with_total(found.total),
    }))
}

fn direction(name: &str) -> Result<CallDirection, Error> {
    match name {
        "incoming" => Ok(CallDirection::Incoming),
        "outgoing" => Ok(CallDirection::Outgoing),
        _ => Err(Error::invalid(
            "invalid_direction",
            "direction must be incoming or outgoing.",
        )),
    }
}

#[derive(Serialize, ToSchema)]
#[schema(as = SeenAnswer)]
pub(super) struct UnseenCallsAnswer {
    /// Always 0.
    unseen_count: i64,
}

/// Mark the unanswered calls as seen.
///
/// Calls up to now no longer count in `unseen_count`.
#[utoipa::path(
    post,
    path = "/calls/unanswered/seen",
    tag = "calls",
    security(("access_token" = [])),
    responses((status = 200, body = UnseenCallsAnswer))
)]
pub(super) async fn mark_unanswered_calls_seen(
    State(calls): State<CallsClient>,
    current_user: CurrentUser,
) -> Result<Json<UnseenCallsAnswer>> {
    let user_id = current_user.user_id;
    retry_idempotent(
        &calls,
        CallsClient::mark_unanswered_seen,
        MarkUnansweredSeenRequest { user_id },
    )
    .await?;
    Ok(Json(UnseenCallsAnswer { unseen_count: 0 }))
}
