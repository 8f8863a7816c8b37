//! The gateway: the platform's REST and WebSocket face.
//!
//! It knows who asks ([`token`], [`revocations`]), how requests and answers look on the wire
//! ([`routes`], [`extract`], [`problem`]) and whom to ask ([`app`]); the rules live in the services.
//! [`middleware`] is around every request, [`server`] around every connection, [`openapi`] describes
//! the endpoints, [`ws`] tells sockets what happens.

pub mod app;
pub mod clients;
pub mod concurrency;
pub mod config;
pub mod extract;
pub mod head;
pub mod headers;
pub mod heartbeats;
pub mod keys;
pub mod limits;
pub mod lingering;
pub mod middleware;
pub mod number;
pub mod openapi;
pub mod paging;
pub mod problem;
pub mod revocations;
pub mod routes;
pub mod server;
pub mod token;
pub mod ws;

use std::time::Duration;

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use talktime_kit::config::ProcessConfig;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::{Clock, messaging, ops, telemetry};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::app::App;
use crate::config::Config;
use crate::ws::EventFollower;

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
    let events = EventFollower::new(hub.clone(), nats, lifecycle.clone());
    lifecycle.spawn(events.run());
    let revoked = app.revocations().changes();
    lifecycle.spawn(hub.clone().watch_revocations(revoked, stopping.clone()));
    lifecycle.spawn(app.slots().clone().run(stopping.clone()));
    lifecycle.spawn(app.keys().clone().follow(stopping));
    spawn_readiness(&app, &lifecycle);

    let listener = TcpListener::bind(config.http.listen)
        .await
        .with_context(|| format!("TALKTIME_GATEWAY__HTTP__LISTEN: {}", config.http.listen))?;
    raise_open_files();
    let router = routes::router(app, &config.http);
    let server = server::serve(listener, router, &config.http, lifecycle.stopping());
    lifecycle
        .run_until_drained(server, &process.shutdown)
        .await?;
    telemetry.flush();
    Ok(())
}

/// Each connection is an open file; the soft limit is often far below what the system allows.
fn raise_open_files() {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

/// How long a start waits for the stream of events: sockets need it, everything else does not.
const STREAM_WAIT_MAX: Duration = Duration::from_secs(5);

/// Ready once tokens can be checked: without keys and revocations every request would be refused.
/// Redis, NATS and the services may be down; what does not need them is served.
fn spawn_readiness(app: &App, lifecycle: &Lifecycle) {
    let (keys, revocations) = (app.keys().clone(), app.revocations().clone());
    let hub = app.hub().clone();
    let (process, stopping) = (lifecycle.clone(), lifecycle.stopping());
    let becoming_ready = async move {
        keys.wait().await;
        revocations.wait().await;
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
