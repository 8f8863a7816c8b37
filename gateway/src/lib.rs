//! The gateway: the platform's REST and WebSocket face.
//!
//! It knows who asks ([`token`], [`revocations`]), how requests and answers look on the wire
//! ([`routes`], [`extract`], [`problem`]) and whom to ask ([`app`]); the rules live in the services.
//! [`middleware`] is around every request, [`openapi`] describes them all, [`ws`] tells sockets what
//! happens.

pub mod app;
pub mod config;
pub mod extract;
pub mod heartbeats;
pub mod keys;
pub mod limits;
pub mod middleware;
pub mod number;
pub mod openapi;
pub mod paging;
pub mod problem;
pub mod revocations;
pub mod routes;
pub mod token;
pub mod ws;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use axum::serve::ListenerExt;
use talktime_kit::config::ProcessConfig;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::{Clock, messaging, ops, telemetry};
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Config;
use crate::routes::Timeouts;

/// The name in configuration, logs and metrics.
pub const NAME: &str = "gateway";

/// Runs the gateway until a signal.
pub async fn serve(process: ProcessConfig, config: Config) -> anyhow::Result<()> {
    let telemetry = telemetry::init(NAME, &process.telemetry)?;
    let lifecycle = Lifecycle::default();
    ops::listen(
        process.ops.listen,
        lifecycle.clone(),
        telemetry.metrics.clone(),
    )
    .await?;

    let app = App::connect(&config, Clock::System, lifecycle.clone())?;
    let nats = messaging::connect(&config.nats).await?;
    let stopping = lifecycle.stopping();
    let revocations = app.revocations().clone();
    lifecycle.spawn(revocations.follow(nats.clone(), stopping.clone()));
    let hub = app.hub();
    lifecycle.spawn(hub.clone().follow(nats, stopping.clone()));
    let revoked = app.revocations().changes();
    lifecycle.spawn(hub.clone().doubt(revoked, stopping.clone()));
    lifecycle.spawn(app.places().clone().keep(stopping.clone()));
    lifecycle.spawn(app.keys().clone().follow(stopping));
    spawn_readiness(&app, &lifecycle);

    let timeouts = Timeouts {
        request: Duration::from_millis(config.http.request_timeout_ms),
        upload: Duration::from_millis(config.http.upload_timeout_ms),
    };
    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("TALKTIME_GATEWAY__HTTP__LISTEN: {}", config.http.listen))?
        .tap_io(|connection| {
            // Fails only for a connection that is gone already.
            let _ = connection.set_nodelay(true);
        });
    let server = axum::serve(
        listener,
        routes::router(app, timeouts).into_make_service_with_connect_info::<SocketAddr>(),
    )
    .with_graceful_shutdown(lifecycle.stopping().cancelled_owned());
    lifecycle
        .run_until_drained(server.into_future(), &process.shutdown)
        .await?;
    telemetry.flush();
    Ok(())
}

/// Ready once tokens can be checked: without keys and revocations every request would be refused.
/// Redis, NATS and the services may be down; what does not need them is served.
fn spawn_readiness(app: &App, lifecycle: &Lifecycle) {
    let (keys, revocations) = (app.keys().clone(), app.revocations().clone());
    let lifecycle = lifecycle.clone();
    tokio::spawn(async move {
        keys.wait().await;
        revocations.wait().await;
        lifecycle.set_ready();
    });
}
