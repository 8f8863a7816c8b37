//! The sessions of the current user.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_proto::auth::v1::{EndSessionRequest, ListSessionsRequest, LogoutAllRequest, Session};
use utoipa::ToSchema;

use super::{Message, time};
use crate::clients::AuthClient;
use crate::extract::Json;
use crate::problem::Result;
use crate::revocations::RevocationList;
use crate::token::CurrentUser;

#[derive(Serialize, ToSchema)]
pub(super) struct SessionsAnswer {
    sessions: Vec<SessionEntry>,
}

#[derive(Serialize, ToSchema)]
struct SessionEntry {
    session_id: String,
    /// The `User-Agent` of the login.
    device: String,
    created_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    /// Whether the request belongs to this session.
    is_current: bool,
}

impl SessionEntry {
    fn new(session: Session, current_user: &CurrentUser) -> Self {
        Self {
            is_current: session.session_id == current_user.session_id,
            session_id: session.session_id,
            device: session.device,
            created_at: time(session.created_at),
            last_used_at: time(session.last_used_at),
        }
    }
}

/// List the current user's sessions.
#[utoipa::path(
    get,
    path = "/auth/sessions",
    tag = "auth",
    security(("access_token" = [])),
    responses((status = 200, body = SessionsAnswer))
)]
pub(super) async fn list_sessions(
    State(auth): State<AuthClient>,
    current_user: CurrentUser,
) -> Result<Json<SessionsAnswer>> {
    let user_id = current_user.user_id;
    let list = retry_idempotent(
        &auth,
        AuthClient::list_sessions,
        ListSessionsRequest { user_id },
    )
    .await?;
    let sessions = list.sessions.into_iter();
    let sessions = sessions.map(|session| SessionEntry::new(session, &current_user));
    Ok(Json(SessionsAnswer {
        sessions: sessions.collect(),
    }))
}

/// End a session of the current user.
///
/// All tokens and sockets of the session end.
#[utoipa::path(
    delete,
    path = "/auth/sessions/{session_id}",
    tag = "auth",
    security(("access_token" = [])),
    params(("session_id" = String, Path, description = "The id of the session, as `/auth/sessions` lists it")),
    responses(
        (status = 200, body = Message),
        (status = 404, description = "session_not_found"),
    )
)]
// The gateway does not retry: a second attempt would find no session and hide the success of the first one.
pub(super) async fn end_session(
    State(mut auth): State<AuthClient>,
    State(revocations): State<RevocationList>,
    current_user: CurrentUser,
    session_id: Result<Path<String>, PathRejection>,
) -> Result<Json<Message>> {
    // An id that is not text does not exist.
    let session_id = session_id.map_or_else(|_| String::new(), |Path(id)| id);
    let request = EndSessionRequest {
        user_id: current_user.user_id,
        session_id,
    };
    auth.end_session(request).await?;
    revocations.refresh().await;
    Ok(Json(Message::new("Session ended")))
}

/// End all sessions of the current user, including the current one.
#[utoipa::path(
    post,
    path = "/auth/logout_all",
    tag = "auth",
    security(("access_token" = [])),
    responses((status = 200, body = Message))
)]
pub(super) async fn end_all_sessions(
    State(auth): State<AuthClient>,
    State(revocations): State<RevocationList>,
    current_user: CurrentUser,
) -> Result<Json<Message>> {
    let request = LogoutAllRequest {
        user_id: current_user.user_id,
        session_id: current_user.session_id,
    };
    retry_idempotent(&auth, AuthClient::logout_all, request).await?;
    revocations.refresh().await;
    Ok(Json(Message::new("Logged out everywhere")))
}
