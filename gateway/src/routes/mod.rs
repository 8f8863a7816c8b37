//! The endpoints, one file a group. A handler reads the request, asks one service, and writes the
//! answer; the names on the wire are the contract's (`rest.md`, sections 2 to 8).

mod auth;
mod blocks;
mod calls;
mod calls_history;
mod calls_rates;
mod favorites;
mod feed;
mod keys;
mod presence;
mod sessions;
mod users;
mod verification;
mod wallet;

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{delete, get, post};
use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use serde::Serialize;
use talktime_kit::{Error, Kind};

use crate::app::App;
use crate::extract::BODY_BYTES_MAX;
use crate::middleware::around_every_request;
use crate::problem::Problem;
use crate::ws;

/// How long requests may take, their bodies included.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Any request,
    pub request: Duration,
    /// but one that brings a file.
    pub upload: Duration,
}

/// Every endpoint, and what is around them.
pub fn router(app: App, timeouts: Timeouts) -> Router {
    let small = Router::new()
        .merge(people())
        .merge(money_and_calls())
        .merge(verification())
        .route("/.well-known/jwks.json", get(keys::jwks))
        .route("/ws/presence", get(ws::presence))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(timeouts.request, around_every_request));
    let uploads = Router::new()
        .route(
            "/verification/upload-audio-file",
            post(verification::upload::file),
        )
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(verification::upload::BODY_BYTES_MAX))
        .layer(from_fn_with_state(timeouts.upload, around_every_request));
    small.merge(uploads).with_state(app)
}

fn verification() -> Router<App> {
    Router::new()
        .route(
            "/verification/upload-audio-url",
            post(verification::submit_url),
        )
        .route("/verification/upload-ticket", post(verification::ticket))
        .route("/verification/confirm", post(verification::confirm))
        .route("/verification/status", get(verification::status))
        .route("/verification/history", get(verification::history))
        .route(
            "/admin/verification/pending",
            get(verification::admin::pending),
        )
        .route(
            "/admin/verification/review",
            post(verification::admin::review),
        )
        .route(
            "/admin/verification/revoke",
            post(verification::admin::revoke),
        )
}

fn people() -> Router<App> {
    Router::new()
        .route("/auth/request_otp", post(auth::request_otp))
        .route("/auth/resend_otp", post(auth::resend_otp))
        .route("/auth/verify", post(auth::verify))
        .route("/auth/register", post(auth::register))
        .route("/auth/refresh", post(auth::refresh))
        .route("/auth/logout", post(auth::logout))
        .route("/auth/logout_all", post(sessions::end_all))
        .route("/auth/sessions", get(sessions::list))
        .route("/auth/sessions/{session_id}", delete(sessions::end))
        .route(
            "/users/me",
            get(users::read).put(users::update).delete(users::delete),
        )
        .route(
            "/users/me/status",
            get(presence::read_own).put(presence::update_own),
        )
        .route("/users/me/heartbeat", post(presence::heartbeat))
        .route("/users/{user_id}/presence", get(presence::read))
        .route("/users/presence", get(presence::read_many))
        .route("/favorites", get(favorites::list))
        .route("/favorites/add", post(favorites::add))
        .route("/favorites/remove", delete(favorites::remove))
        .route("/favorites/check/{listener_id}", get(favorites::check))
        .route("/block", post(blocks::add).delete(blocks::remove))
        .route("/block/check/{user_id}", get(blocks::check))
        .route("/blocked", get(blocks::list))
        .route("/feed/listeners", get(feed::listeners))
}

fn money_and_calls() -> Router<App> {
    Router::new()
        .route("/wallet/balance", get(wallet::balance))
        .route("/calls/recharge", post(wallet::recharge))
        .route("/calls/start", post(calls::start))
        .route("/calls/bill-minute/{call_id}", post(calls::bill_minute))
        .route("/calls/end", post(calls::end))
        .route("/calls/emergency-end/{call_id}", post(calls::emergency_end))
        .route("/calls/cleanup", post(calls::clean_up))
        .route("/calls/rates", get(calls_rates::read))
        .route("/calls/ongoing", get(calls::ongoing))
        .route("/calls/history", get(calls_history::list))
        .route("/calls/history/summary", get(calls_history::summary))
        .route("/calls/status", get(calls_history::activity))
        .route("/calls/{call_id}", get(calls_history::receipt))
}

async fn unknown_path() -> Problem {
    Error::new(
        Kind::NotFound,
        "not_found",
        "There is nothing at this path.",
    )
    .into()
}

async fn wrong_method() -> Problem {
    Error::new(
        Kind::MethodNotAllowed,
        "method_not_allowed",
        "This path does not take this method; see the Allow header.",
    )
    .into()
}

/// An answer that is a sentence.
#[derive(Serialize)]
pub struct Message {
    message: &'static str,
}

impl Message {
    const fn new(message: &'static str) -> Self {
        Self { message }
    }
}

/// Times go out as RFC 3339 in UTC with `Z`, which is how chrono writes them.
fn time(timestamp: Option<Timestamp>) -> Option<DateTime<Utc>> {
    talktime_proto::datetime(timestamp.as_ref())
}
