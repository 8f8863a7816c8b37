//! The endpoints, one file a group. A handler reads the request, asks one service, and writes the
//! answer; the names on the wire are the contract's (`rest.md`, sections 2 to 8).

mod auth;
mod badges;
mod blocks;
mod calls;
mod calls_history;
mod calls_ongoing;
mod calls_rates;
mod favorites;
mod feed;
mod keys;
mod preferences;
mod presence;
mod ratings;
mod sessions;
mod users;
mod verification;
mod wallet;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use chrono::{DateTime, Utc};
use prost_types::Timestamp;
use serde::Serialize;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::{Error, Kind};
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::AppState;
use crate::concurrency::ConcurrencyLimit;
use crate::config::HttpConfig;
use crate::extract::BODY_BYTES_MAX;
use crate::middleware::{RequestLayer, request_middleware};
use crate::openapi::{self, ApiDocument};
use crate::problem::Problem;
use crate::{headers, limits, ws};

/// Less does not get much smaller.
const COMPRESSED_BYTES_MIN: u64 = 1_024;

/// Every endpoint, and what is around them.
pub fn router(app: AppState, config: &HttpConfig) -> Router {
    let concurrency = ConcurrencyLimit::new(config.running_max, config.waiting_max);
    let request_layer = |timeout_ms| {
        let layer = RequestLayer {
            timeout: Duration::from_millis(timeout_ms),
            concurrency: concurrency.clone(),
            lifecycle: Lifecycle::from_ref(&app),
        };
        from_fn_with_state(layer, request_middleware)
    };
    let enforce_limits = from_fn_with_state(app.clone(), limits::enforce_limits::<AppState>);
    let (small, document) = small().split_for_parts();
    let (uploads, uploads_document) = uploads().split_for_parts();
    let document = ApiDocument::new(document.merge_from(uploads_document));
    let small = small
        .merge(openapi::routes(&document, &ws::document()))
        .route("/ws/feed", get(ws::feed))
        .route("/ws/presence", get(ws::presence))
        .route("/ws/calls", get(ws::calls))
        .route("/ws/notifications", get(ws::notifications))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(enforce_limits.clone())
        .layer(request_layer(config.request_timeout_ms));
    let uploads = uploads
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(verification::upload::BODY_BYTES_MAX))
        .layer(enforce_limits)
        .layer(request_layer(config.upload_timeout_ms));
    small
        .merge(uploads)
        .layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN)))
        .layer(headers::cors_layer(&config.cors_origins))
        .layer(from_fn(headers::add_security_headers))
        .with_state(app)
}

/// What the endpoints say of themselves.
pub fn document() -> ApiDocument {
    ApiDocument::new(small().into_openapi().merge_from(uploads().into_openapi()))
}

/// The endpoints group by group, each with its part of the document.
pub fn groups() -> Vec<OpenApiRouter<AppState>> {
    vec![
        logins(),
        people(),
        money_and_calls(),
        verification(),
        uploads(),
    ]
}

fn small() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(logins())
        .merge(people())
        .merge(money_and_calls())
        .merge(verification())
}

fn uploads() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(verification::upload::file))
}

fn verification() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(verification::submit_url))
        .routes(routes!(verification::ticket))
        .routes(routes!(verification::confirm))
        .routes(routes!(verification::status))
        .routes(routes!(verification::history))
        .routes(routes!(verification::admin::pending))
        .routes(routes!(verification::admin::review))
        .routes(routes!(verification::admin::revoke))
}

fn logins() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(auth::request_otp))
        .routes(routes!(auth::resend_otp))
        .routes(routes!(auth::verify))
        .routes(routes!(auth::register))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(sessions::end_all))
        .routes(routes!(sessions::list))
        .routes(routes!(sessions::end))
        .routes(routes!(keys::jwks))
}

fn people() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(users::read, users::update, users::delete))
        .routes(routes!(presence::read_own, presence::update_own))
        .routes(routes!(presence::heartbeat))
        .routes(routes!(preferences::read, preferences::update))
        .routes(routes!(preferences::read_alias, preferences::update_alias))
        .routes(routes!(presence::read))
        .routes(routes!(presence::read_many))
        .routes(routes!(presence::clean_up))
        .routes(routes!(favorites::list))
        .routes(routes!(favorites::add))
        .routes(routes!(favorites::remove))
        .routes(routes!(favorites::check))
        .routes(routes!(blocks::add, blocks::remove))
        .routes(routes!(blocks::check))
        .routes(routes!(blocks::list))
        .routes(routes!(feed::listeners))
        .routes(routes!(feed::stats))
}

fn money_and_calls() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(wallet::balance))
        .routes(routes!(wallet::statements::earnings))
        .routes(routes!(wallet::statements::of_user))
        .routes(routes!(wallet::statements::of_listener))
        .routes(routes!(wallet::statements::coins))
        .routes(routes!(wallet::statements::recharges))
        .routes(routes!(
            wallet::payouts::bank_details,
            wallet::payouts::set_bank_details
        ))
        .routes(routes!(wallet::payouts::withdraw))
        .routes(routes!(wallet::payouts::withdrawals))
        .routes(routes!(wallet::payouts::review))
        .routes(routes!(wallet::payouts::decide))
        .routes(routes!(wallet::purchases::recharge))
        .routes(routes!(wallet::purchases::add_coins))
        .routes(routes!(wallet::purchases::open_order))
        .routes(routes!(wallet::purchases::notice))
        .routes(routes!(calls::start))
        .routes(routes!(calls::bill_minute))
        .routes(routes!(calls::end))
        .routes(routes!(calls::emergency_end))
        .routes(routes!(calls::clean_up))
        .routes(routes!(calls_rates::read))
        .routes(routes!(calls_ongoing::read))
        .routes(routes!(calls_history::list))
        .routes(routes!(calls_history::summary))
        .routes(routes!(calls_history::activity))
        .routes(routes!(calls_history::receipt))
        .routes(routes!(ratings::rate))
        .routes(routes!(badges::current))
        .routes(routes!(badges::history))
        .routes(routes!(badges::statistics))
        .routes(routes!(badges::assign))
        .routes(routes!(badges::read))
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
#[derive(Serialize, ToSchema)]
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
