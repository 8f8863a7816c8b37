//! The operations port: `/livez`, `/readyz` and `/metrics`, which are not reachable from outside.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusHandle;

use crate::lifecycle::Lifecycle;

/// Serves the operations port until the process ends, since readiness is queried during a drain, too.
///
/// # Errors
/// The port is in use.
pub async fn listen(
    listen: SocketAddr,
    lifecycle: Lifecycle,
    metrics: PrometheusHandle,
) -> anyhow::Result<()> {
    let listener = tokio::net::TcpListener::bind(listen).await?;
    let router = Router::new()
        .route("/livez", get(|| async { "alive" }))
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

async fn readyz(State(lifecycle): State<Lifecycle>) -> (StatusCode, &'static str) {
    if lifecycle.is_ready() {
        (StatusCode::OK, "ready")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready")
    }
}

async fn render(State(metrics): State<PrometheusHandle>) -> String {
    // CPU, memory and open files, as the operating system has them now.
    metrics_process::Collector::default().collect();
    metrics.run_upkeep();
    metrics.render()
}
