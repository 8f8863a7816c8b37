//! The gateway: the platform's REST and WebSocket interface.
//!
//! It verifies access tokens ([`token`], [`revocations`]), converts between JSON and gRPC ([`routes`], [`extract`],
//! [`problem`]) and calls the services ([`clients`]), which contain the rules. [`server`] accepts connections,
//! [`middleware`] surrounds every request, [`limits`] and [`concurrency`] refuse excessive ones, [`openapi`] describes
//! the endpoints, and [`ws`] serves sockets.

pub mod address_counts;
pub mod app;
pub mod app_config;
pub mod call_names;
pub mod call_state;
mod client_stream;
pub mod clients;
pub mod concurrency;
pub mod config;
mod connection_activity;
pub mod extract;
pub mod head;
pub mod headers;
pub mod heartbeats;
mod held_bytes;
pub mod limits;
pub mod lingering;
pub mod media_join;
pub mod middleware;
pub mod number;
pub mod openapi;
pub mod paging;
pub mod peer_profiles;
pub mod pending_ends;
pub mod problem;
pub mod recent_login;
pub mod revocations;
pub mod routes;
pub mod server;
pub mod signaling;
pub mod status_viewers;
pub mod token;
pub mod ws;

use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use talktime_kit::config::ProcessConfig;
use talktime_kit::grpc::client::PeerConnector;
use talktime_kit::identity::WorkloadIdentity;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::{Clock, messaging, ops, telemetry};
use talktime_proto::access::v1::Workload;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::app::AppState;
use crate::config::GatewayConfig;
use crate::ws::EventStreamFollower;

/// The name of this process in configuration, logs and metrics.
pub const NAME: &str = "gateway";

/// Runs the gateway until a signal.
pub async fn serve(process: ProcessConfig, config: GatewayConfig) -> anyhow::Result<()> {
    config.check(process.environment)?;
    let telemetry = telemetry::init(NAME, &process.telemetry)?;
    let lifecycle = ProcessLifecycle::default();
    ops::listen(
        process.ops.listen,
        lifecycle.clone(),
        telemetry.metrics.clone(),
    )
    .await?;

    let identity = WorkloadIdentity::load(&process.identity, &lifecycle)?;
    let connector = PeerConnector::new(identity);
    let nats = messaging::connect(&config.nats, Workload::Gateway.name()).await?;
    let app = AppState::connect(
        &config,
        &connector,
        nats.clone(),
        Clock::System,
        lifecycle.clone(),
    )?;
    let stopping = lifecycle.stopping();
    let revocations = app.revocations().clone();
    lifecycle.spawn(revocations.run(nats.clone(), stopping.clone()));
    let hub = app.hub();
    let events = EventStreamFollower::new(hub.clone(), nats, lifecycle.clone());
    lifecycle.spawn(events.run());
    let revoked = app.revocations().subscribe();
    lifecycle.spawn(hub.clone().watch_revocations(revoked, stopping));
    app.slots().start_renewals(&lifecycle);
    app.keys().start_refreshing(&lifecycle);
    spawn_readiness(&app, &lifecycle);

    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("TALKTIME_GATEWAY__HTTP__LISTEN: {}", config.http.listen))?;
    raise_open_files_limit();
    let router = routes::router(app, &config.http);
    let server = server::serve(listener, router, &config.http, lifecycle.stopping());
    lifecycle
        .run_until_drained(server, &process.shutdown)
        .await?;
    telemetry.flush();
    Ok(())
}

/// Raises the soft limit of open files to the hard one: every connection is an open file.
fn raise_open_files_limit() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard_limit)| setrlimit(Resource::RLIMIT_NOFILE, hard_limit, hard_limit));
    if let Err(error) = raised {
        tracing::warn!(%error, "failed to raise the limit of open files; it stays as it is");
    }
}

/// How long the start waits for the stream of events, which only sockets need.
const STREAM_WAIT_MAX: Duration = Duration::from_secs(5);

/// Reports readiness once tokens can be verified: without keys and revocations every request would be refused. Redis,
/// NATS and the services may be unavailable; requests that do not need them are served.
fn spawn_readiness(app: &AppState, lifecycle: &ProcessLifecycle) {
    let (keys, revocations) = (app.keys().clone(), app.revocations().clone());
    let hub = app.hub().clone();
    let (process, stopping) = (lifecycle.clone(), lifecycle.stopping());
    let becoming_ready = async move {
        keys.wait_until_loaded().await;
        revocations.wait_until_loaded().await;
        if timeout(STREAM_WAIT_MAX, hub.wait_for_stream())
            .await
            .is_err()
        {
            tracing::warn!(
                "failed to read the stream of events in time; ready without it, sockets are refused until it is read"
            );
        }
        process.set_ready();
    };
    lifecycle.spawn(async move {
        stopping.run_until_cancelled(becoming_ready).await;
    });
}
