//! The agent beside a relay, `talktime-calls relay-agent`.
//!
//! It counts the traffic of each session of its coturn ([`follower`], [`lister`]), reports it to the calls service
//! ([`reporter`]) and ends the sessions of calls that are over ([`cutter`]). It holds no state that it cannot read
//! from coturn again, so it may die and start at any time; media does not pass through it.

pub mod config;
mod cutter;
mod ended_seats;
mod follower;
mod lister;
mod listing;
mod metrics;
mod relay_access;
mod reporter;
mod session_key;
mod session_table;
mod shared_state;
mod statistics;
mod turn_console;

use std::sync::Arc;
use std::time::Duration;

use talktime_kit::config::ProcessConfig;
use talktime_kit::grpc::client::PeerConnector;
use talktime_kit::identity::WorkloadIdentity;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::{messaging, ops, redis, telemetry};
use talktime_proto::access::v1::Workload;
use talktime_proto::calls::v1::relay_service_client::RelayServiceClient;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::config::RelayAgentConfig;
use self::cutter::CutQueue;
use self::follower::StatisticsFollower;
use self::relay_access::RelayAccess;
use self::shared_state::SharedState;

/// How often a drain looks for sessions that are left. The first look comes after the report that the relay drains.
const DRAIN_CHECK_EVERY: Duration = Duration::from_secs(1);

/// The name of this process in configuration, logs and metrics.
pub const NAME: &str = "relay_agent";

/// Waits for the end of the drain, or until the relay has no session left during it.
async fn wait_for_end(lifecycle: ProcessLifecycle, state: SharedState) -> anyhow::Result<()> {
    lifecycle.draining().cancelled().await;
    state.lock().reports.wake();
    let stopping = lifecycle.stopping();
    loop {
        tokio::select! {
            () = stopping.cancelled() => return Ok(()),
            () = sleep(DRAIN_CHECK_EVERY) => {}
        }
        if state.lock().sessions.is_empty() {
            stopping.cancel();
            return Ok(());
        }
    }
}

/// Runs the agent until it receives a signal to stop. Before it stops, it reports to calls that the relay drains.
///
/// # Errors
/// The configuration is invalid, the certificate cannot be read, or the operations port is in use.
pub async fn serve(process: ProcessConfig, config: RelayAgentConfig) -> anyhow::Result<()> {
    config.validate(process.environment)?;
    let console_password = config.relay.load_console_password()?;
    let telemetry = telemetry::init(NAME, &process.telemetry)?;
    let lifecycle = ProcessLifecycle::default();
    let rendered = telemetry.metrics.clone();
    ops::listen(process.ops.listen, lifecycle.clone(), rendered).await?;
    metrics::register_metrics();
    let identity = WorkloadIdentity::load(&process.identity, &lifecycle)?;
    let access = Arc::new(RelayAccess {
        relay: config.relay,
        console_password,
    });
    let state = SharedState::default();
    let nats = messaging::connect(&config.nats, Workload::RelayAgent.name()).await?;
    let statistics = redis::subscriber(&config.redis)?;
    let hears_totals = CancellationToken::new();
    let cuts = CutQueue::start(&lifecycle, access.clone(), hears_totals.clone());
    let follower = StatisticsFollower::new(&lifecycle, &access, state.clone(), cuts.clone());
    lifecycle.spawn(follower.run(statistics, hears_totals));
    cutter::start_following_orders(&lifecycle, &access, nats, state.clone(), cuts.clone());
    lister::start(&lifecycle, access.clone(), state.clone(), cuts.clone());
    let peers = PeerConnector::new(identity);
    let calls = RelayServiceClient::new(peers.connect(Workload::Calls, &config.calls)?);
    reporter::start(&lifecycle, access, calls, state.clone(), cuts);
    let drained = wait_for_end(lifecycle.clone(), state);
    lifecycle
        .run_until_drained(drained, &process.shutdown)
        .await?;
    telemetry.flush();
    Ok(())
}
