//! The operations port: `/livez`, `/readyz` and `/metrics`, which are not reachable from outside.

use std::borrow::Cow;
use std::future::ready;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::gauges::ReadGauges;
use crate::lifecycle::ProcessLifecycle;
use crate::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

/// Short enough for a process under load, which records some ten thousand durations a second.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);

/// The metrics of a process, with the gauges that are measured when they are read; cheap to clone.
#[derive(Clone)]
pub struct MetricsPage {
    recorded: PrometheusHandle,
    gauges: ReadGauges,
}

impl MetricsPage {
    /// Creates the page of the metrics that are recorded.
    pub(crate) fn new(recorded: PrometheusHandle) -> Self {
        Self {
            recorded,
            gauges: ReadGauges::default(),
        }
    }

    /// Adds a gauge that is measured when the page is read. A failed measurement leaves it as it was.
    pub(crate) fn add_gauge<F>(&self, name: &str, measure: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.gauges.add(name, measure);
    }

    async fn render(&self) -> String {
        self.gauges.measure().await;
        // CPU, memory and open files, as the operating system has them now.
        metrics_process::Collector::default().collect();
        self.recorded.run_upkeep();
        self.recorded.render()
    }
}

/// Serves the operations port until the process ends, since readiness is queried during a drain, too.
///
/// # Errors
/// The port is in use.
pub async fn listen(
    listen: SocketAddr,
    lifecycle: ProcessLifecycle,
    metrics: MetricsPage,
) -> anyhow::Result<()> {
    start_upkeep(&lifecycle, metrics.recorded.clone());
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let router = Router::new()
        .route("/livez", get(livez).with_state(lifecycle.clone()))
        .route("/readyz", get(readyz).with_state(lifecycle))
        .route("/metrics", get(render).with_state(metrics));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(
                %error,
                "failed to serve the operations port; probes and metrics are gone until a restart"
            );
        }
    });
    Ok(())
}

/// Sorts recorded durations into their buckets, also if nobody reads the metrics: until then each takes memory.
fn start_upkeep(lifecycle: &ProcessLifecycle, recorded: PrometheusHandle) {
    let work = PeriodicWork {
        name: Cow::Borrowed("metrics.upkeep"),
        interval: UPKEEP_EVERY,
        retry_after: UPKEEP_EVERY,
        deadline: UPKEEP_EVERY,
        first_turn: FirstTurnStart::AfterInterval,
    };
    periodic::start(lifecycle, work, move || {
        recorded.run_upkeep();
        ready(Ok(NextTurnStart::AfterInterval))
    });
}

/// Kubernetes restarts a process that fails this several times.
async fn livez(State(lifecycle): State<ProcessLifecycle>) -> (StatusCode, String) {
    let Some(stuck) = lifecycle.find_stuck_loop() else {
        return (StatusCode::OK, "alive".to_owned());
    };
    tracing::error!(
        r#loop = %stuck.name,
        since_secs = stuck.since.as_secs(),
        "a background loop is stuck; the liveness probe fails until the process is restarted"
    );
    let reason = format!("{} has not turned for {:?}", stuck.name, stuck.since);
    (StatusCode::SERVICE_UNAVAILABLE, reason)
}

async fn readyz(State(lifecycle): State<ProcessLifecycle>) -> (StatusCode, &'static str) {
    if lifecycle.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

async fn render(State(metrics): State<MetricsPage>) -> String {
    metrics.render().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn is_alive(lifecycle: &ProcessLifecycle) -> bool {
        livez(State(lifecycle.clone())).await.0 == StatusCode::OK
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_with_a_stuck_loop_is_not_alive_until_the_loop_turns() {
        let lifecycle = ProcessLifecycle::default();
        let relay = lifecycle.register_loop("relay", Duration::from_mins(1));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(is_alive(&lifecycle).await);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!is_alive(&lifecycle).await);
        relay.record_turn();
        assert!(is_alive(&lifecycle).await);
    }

    #[tokio::test(start_paused = true)]
    async fn loops_that_have_ended_for_a_stop_are_not_stuck() {
        let lifecycle = ProcessLifecycle::default();
        lifecycle.register_loop("relay", Duration::from_mins(1));
        lifecycle.stopping().cancel();
        tokio::time::advance(Duration::from_hours(1)).await;
        assert!(is_alive(&lifecycle).await);
    }
}
