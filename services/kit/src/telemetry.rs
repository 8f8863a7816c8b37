//! Logs as JSON lines, traces over OTLP, metrics for Prometheus.

mod log_line;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{EnvFilter, FilterFn, filter_fn};
use tracing_subscriber::prelude::*;

use crate::config::TelemetryConfig;
use crate::deadlines;
use crate::ops::MetricsPage;
use log_line::{JsonLine, SpanMembers};

/// Bounds of latency histograms, in seconds: from a cache hit to a minute that is billed a minute late.
const LATENCY_BUCKETS_SECS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0,
];

/// Bounds of the steps of a request, in seconds, which are close enough together for the median of a step.
const STEP_BUCKETS_SECS: &[f64] = &[
    0.000_25, 0.000_5, 0.000_75, 0.001, 0.001_5, 0.002, 0.003, 0.004, 0.006, 0.008, 0.012, 0.016,
    0.025, 0.05, 0.1, 0.25, 1.0, 10.0,
];
/// Histograms of steps.
const STEP_METRICS: [&str; 4] = [
    "batch_wait_seconds",
    "batch_duration_seconds",
    "db_commit_duration_seconds",
    "db_transaction_duration_seconds",
];

/// The least important level of spans and events that belong to traces.
const TRACED_LEVEL: Level = Level::INFO;

/// Keeps telemetry alive; [`TelemetryGuard::flush`] before the process ends.
pub struct TelemetryGuard {
    /// Absent where traces are not exported.
    tracer_provider: Option<SdkTracerProvider>,
    /// The metrics page.
    pub metrics: MetricsPage,
}

/// Sets up logs, traces and metrics of this process. Must be called once.
///
/// # Errors
/// The log filter or the OTLP endpoint is invalid, or telemetry has been set up before.
pub fn init(service: &'static str, config: &TelemetryConfig) -> anyhow::Result<TelemetryGuard> {
    let log_filter = EnvFilter::try_new(&config.log)?;
    let logs = tracing_subscriber::fmt::layer()
        .fmt_fields(SpanMembers)
        .event_format(JsonLine)
        .with_filter(log_filter);
    let subscriber = tracing_subscriber::registry().with(logs);
    let endpoint = config.otlp_endpoint.as_deref();
    let tracer_provider = endpoint.map(|endpoint| build_tracer_provider(service, endpoint));
    let tracer_provider = tracer_provider.transpose()?;
    match &tracer_provider {
        Some(provider) => {
            let traces = tracing_opentelemetry::layer()
                .with_tracer(provider.tracer(service))
                // Nothing asks OpenTelemetry for the span of a thread; the trace is always that of the `tracing` span.
                .with_context_activation(false)
                .with_filter(trace_filter());
            subscriber.with(traces).try_init()?;
        }
        // Traces still have ids for the log and for peers, without any work for OpenTelemetry (`crate::trace`).
        None => subscriber.try_init()?,
    }
    log_panics();

    let mut builder = PrometheusBuilder::new();
    for name in STEP_METRICS {
        // A whole name takes precedence over a suffix.
        let name = Matcher::Full(name.to_owned());
        builder = builder.set_buckets_for_metric(name, STEP_BUCKETS_SECS)?;
    }
    let recorded = builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), LATENCY_BUCKETS_SECS)?
        .add_global_label("service", service)
        .install_recorder()?;
    metrics::gauge!("build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    deadlines::register_metrics();
    Ok(TelemetryGuard {
        tracer_provider,
        metrics: MetricsPage::new(recorded),
    })
}

/// Returns the filter of traces, which is not that of logs, since quieter logs must not cut traces.
fn trace_filter() -> FilterFn {
    let is_important: fn(&Metadata<'_>) -> bool = |metadata| *metadata.level() <= TRACED_LEVEL;
    filter_fn(is_important).with_max_level_hint(TRACED_LEVEL)
}

/// Logs panics as JSON lines like everything else, instead of the several lines that Rust prints.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let message = panic.payload_as_str().unwrap_or_default();
        tracing::error!(place, message, "panicked");
    }));
}

fn build_tracer_provider(
    service: &'static str,
    otlp_endpoint: &str,
) -> anyhow::Result<SdkTracerProvider> {
    let resource = Resource::builder()
        .with_service_name(service)
        .with_attribute(KeyValue::new("service.namespace", "talktime"))
        .build();
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(otlp_endpoint)
        .build()?;
    let builder = SdkTracerProvider::builder().with_resource(resource);
    Ok(builder.with_batch_exporter(exporter).build())
}

impl TelemetryGuard {
    /// Exports the buffered spans. Logs a failure itself, since the process ends.
    pub fn flush(&self) {
        let Some(provider) = &self.tracer_provider else {
            return;
        };
        if let Err(error) = provider.shutdown() {
            tracing::warn!(%error, "failed to flush traces; the buffered spans are lost");
        }
    }
}
