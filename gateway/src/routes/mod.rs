//! The endpoints, one file for each group. A handler converts the request, calls a service, and converts the answer. The
//! names in JSON are those of the contract (`rest.md`, sections 2 to 8).

mod app_config;
mod auth;
mod badges;
mod blocks;
mod calls;
mod calls_activity;
mod calls_history;
mod calls_media;
mod calls_ongoing;
mod calls_rates;
mod calls_ringing;
mod calls_unanswered;
mod data_export;
mod favorites;
mod feed;
mod feed_filters;
mod keys;
mod listeners;
mod photos;
mod preferences;
mod presence;
mod ratings;
mod sessions;
mod socket_tickets;
mod usernames;
mod users;
mod verification;
mod wallet;
mod wire;

use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::{Error, ErrorKind};
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::SizeAbove;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::AppState;
use crate::concurrency::ConcurrencyLimit;
use crate::config::PublicHttpConfig;
use crate::extract::{BODY_BYTES_MAX, TrustedProxies};
use crate::middleware::{RequestLayer, request_middleware};
use crate::openapi::{self, ApiDocument};
use crate::problem::Problem;
use crate::{headers, limits, ws};
use wire::{Message, time};

/// Compression makes smaller answers hardly any smaller.
const COMPRESSED_BYTES_MIN: u64 = 1_024;

/// Returns the router of all endpoints and sockets, with their middleware. A router boxes what one `layer` adds, and each
/// request clones every box within a box once more; so layers that belong together are added together.
pub fn router(app: AppState, config: &PublicHttpConfig) -> Router {
    let concurrency = ConcurrencyLimit::new(
        config.running_max,
        config.running_per_address_max,
        config.waiting_max,
    );
    let request_layer = |timeout_ms| {
        let layer = RequestLayer {
            timeout: Duration::from_millis(timeout_ms),
            concurrency: concurrency.clone(),
            proxies: TrustedProxies::from_ref(&app),
            lifecycle: ProcessLifecycle::from_ref(&app),
        };
        from_fn_with_state(layer, request_middleware)
    };
    let enforce_limits = from_fn_with_state(app.clone(), limits::enforce_limits::<AppState>);
    let (small, document) = regular_routes().split_for_parts();
    let (uploads, uploads_document) = upload_routes().split_for_parts();
    let document = ApiDocument::new(document.merge_from(uploads_document));
    let small = small
        .merge(openapi::routes(&document, &ws::document()))
        .route("/ws/feed", get(ws::feed))
        .route("/ws/presence", get(ws::presence))
        .route("/ws/calls", get(ws::calls))
        .route("/ws/notifications", get(ws::notifications))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(
            ServiceBuilder::new()
                .layer(request_layer(config.request_timeout_ms))
                .layer(enforce_limits.clone())
                .layer(DefaultBodyLimit::max(BODY_BYTES_MAX)),
        );
    let uploads = uploads.method_not_allowed_fallback(wrong_method).layer(
        ServiceBuilder::new()
            .layer(request_layer(config.upload_timeout_ms))
            .layer(enforce_limits)
            .layer(DefaultBodyLimit::max(verification::upload::BODY_BYTES_MAX)),
    );
    small
        .merge(uploads)
        .layer(
            ServiceBuilder::new()
                .layer(from_fn(headers::add_security_headers))
                .layer(headers::cors_layer(&config.cors_origins))
                .layer(CompressionLayer::new().compress_when(SizeAbove::new(COMPRESSED_BYTES_MIN))),
        )
        .with_state(app)
}

/// Returns the OpenAPI document of the endpoints.
pub fn document() -> ApiDocument {
    ApiDocument::new(
        regular_routes()
            .into_openapi()
            .merge_from(upload_routes().into_openapi()),
    )
}

/// Returns the endpoints by group, each group with its part of the OpenAPI document.
pub fn route_groups() -> Vec<OpenApiRouter<AppState>> {
    vec![
        login_routes(),
        user_routes(),
        money_and_call_routes(),
        verification_routes(),
        upload_routes(),
    ]
}

fn regular_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .merge(login_routes())
        .merge(user_routes())
        .merge(money_and_call_routes())
        .merge(verification_routes())
}

fn upload_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(verification::upload::upload_audio_file))
}

fn verification_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(verification::submit_audio_url))
        .routes(routes!(verification::create_upload_ticket))
        .routes(routes!(verification::confirm_upload))
        .routes(routes!(verification::read_verification))
        .routes(routes!(verification::list_samples))
        .routes(routes!(verification::admin::list_pending_samples))
        .routes(routes!(verification::admin::review_sample))
        .routes(routes!(verification::admin::revoke_verification))
}

fn login_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(auth::request_otp))
        .routes(routes!(auth::resend_otp))
        .routes(routes!(auth::verify_otp))
        .routes(routes!(auth::register_user))
        .routes(routes!(usernames::check_username))
        .routes(routes!(auth::refresh_tokens))
        .routes(routes!(auth::log_out))
        .routes(routes!(sessions::end_all_sessions))
        .routes(routes!(sessions::list_sessions))
        .routes(routes!(sessions::end_session))
        .routes(routes!(socket_tickets::create_socket_ticket))
        .routes(routes!(keys::read_key_set))
        .routes(routes!(app_config::read_app_config))
}

fn user_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(
            users::read_profile,
            users::update_profile,
            users::delete_account
        ))
        .routes(routes!(
            data_export::request_export,
            data_export::read_export
        ))
        .routes(routes!(photos::create_photo_ticket))
        .routes(routes!(
            photos::submit_photo,
            photos::read_own_photos,
            photos::delete_photos
        ))
        .routes(routes!(photos::read_photo))
        .routes(routes!(photos::admin::list_pending_photos))
        .routes(routes!(photos::admin::review_photo))
        .routes(routes!(
            presence::read_own_status,
            presence::update_own_status
        ))
        .routes(routes!(presence::forward_heartbeat))
        .routes(routes!(preferences::read, preferences::update))
        .routes(routes!(preferences::read_alias, preferences::update_alias))
        .routes(routes!(presence::read_status))
        .routes(routes!(presence::read_statuses))
        .routes(routes!(presence::clean_up_statuses))
        .routes(routes!(favorites::list_favorites))
        .routes(routes!(favorites::add_favorite))
        .routes(routes!(favorites::remove_favorite))
        .routes(routes!(favorites::check_favorite))
        .routes(routes!(blocks::block_user, blocks::unblock_user))
        .routes(routes!(blocks::check_block))
        .routes(routes!(blocks::list_blocked_users))
        .routes(routes!(feed::list_listeners))
        .routes(routes!(feed::read_statistics))
        .routes(routes!(listeners::read_listener))
}

fn money_and_call_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(wallet::read_balance))
        .routes(routes!(wallet::statements::list_earnings))
        .routes(routes!(wallet::earning_summary::read_earning_summary))
        .routes(routes!(wallet::statements::list_user_transactions))
        .routes(routes!(wallet::statements::list_listener_transactions))
        .routes(routes!(wallet::statements::read_coins))
        .routes(routes!(wallet::statements::list_recharges))
        .routes(routes!(
            wallet::payouts::read_bank_details,
            wallet::payouts::set_bank_details
        ))
        .routes(routes!(wallet::payouts::request_withdrawal))
        .routes(routes!(wallet::payouts::list_withdrawals))
        .routes(routes!(wallet::payout_reviews::list_all_withdrawals))
        .routes(routes!(wallet::payout_reviews::decide_withdrawal))
        .routes(routes!(wallet::purchases::buy_coins))
        .routes(routes!(wallet::purchases::add_coins))
        .routes(routes!(wallet::purchases::open_order))
        .routes(routes!(wallet::purchases::receive_payment_notice))
        .routes(routes!(calls::start_call))
        .routes(routes!(calls::bill_minute))
        .routes(routes!(calls::end_call))
        .routes(routes!(calls::emergency_end_call))
        .routes(routes!(calls::clean_up_calls))
        .routes(routes!(calls_ringing::accept_call))
        .routes(routes!(calls_ringing::reject_call))
        .routes(routes!(calls_ringing::cancel_call))
        .routes(routes!(calls_ringing::acknowledge_ring))
        .routes(routes!(calls_ringing::read_call_state))
        .routes(routes!(calls_ringing::read_current_call))
        .routes(routes!(calls_media::take_seat))
        .routes(routes!(calls_unanswered::list_unanswered_calls))
        .routes(routes!(calls_unanswered::mark_unanswered_calls_seen))
        .routes(routes!(calls_rates::read_rates))
        .routes(routes!(calls_ongoing::read_ongoing_call))
        .routes(routes!(calls_history::list_calls))
        .routes(routes!(calls_history::read_summary))
        .routes(routes!(calls_activity::read_activity))
        .routes(routes!(calls_history::read_receipt))
        .routes(routes!(ratings::rate_call))
        .routes(routes!(badges::read_current_badge))
        .routes(routes!(badges::list_badges))
        .routes(routes!(badges::read_badge_statistics))
        .routes(routes!(badges::assign_badges))
        .routes(routes!(badges::read_badge))
}

async fn unknown_path() -> Problem {
    Error::new(
        ErrorKind::NotFound,
        "not_found",
        "There is nothing at this path.",
    )
    .into()
}

async fn wrong_method() -> Problem {
    Error::new(
        ErrorKind::MethodNotAllowed,
        "method_not_allowed",
        "This path does not support this method; see the Allow header.",
    )
    .into()
}
