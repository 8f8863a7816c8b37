//! The gRPC server: traces, deadlines and metrics around every method, a health and a reflection service, and a
//! bounded drain.
//!
//! A method that has begun continues when its caller disconnects; it ends by its own deadline.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::Request;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::Response;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;
use tower::ServiceBuilder;
use tracing::Instrument;

use super::HEALTH_PATHS;
use super::access::{CallerLookup, is_allowed, register_metrics, report_refusal};
use super::incoming::accept_connections;
use super::transport::find_caller;
use super::user_guard::{UserGuard, require_user};
use crate::error::{Error, ErrorKind, chain};
use crate::identity::WorkloadIdentity;
use crate::lifecycle::ProcessLifecycle;
use crate::{grpc, trace};

/// Time limit of a request without a deadline.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Time limit of a request with a longer deadline. Uploads take as long as the network of the phone needs.
const TIMEOUT_MAX: Duration = Duration::from_secs(90);
/// Clients reconnect after this time and thereby find new replicas.
const CONNECTION_AGE_MAX: Duration = Duration::from_mins(5);
const KEEP_ALIVE: Duration = Duration::from_secs(20);
const CONCURRENT_STREAMS_MAX: u32 = 1_024;
/// Greatest number of streams that a peer has opened and cancelled before they were accepted. The default of
/// h2, 20, ends the connection with all requests on it when a few clients of a gateway disconnect at the same
/// time.
const CANCELLED_STREAMS_MAX: usize = 4_096;
/// Greatest number of methods under way, including those whose callers have disconnected.
pub(crate) const CONCURRENT_METHODS_MAX: usize = 4_096;

/// A gRPC server before it serves.
pub struct ServerParts {
    /// The address to listen on.
    pub listen: SocketAddr,
    /// The certificate of this process; clients must present one of the same authority.
    pub identity: WorkloadIdentity,
    /// The callers of each method.
    pub find_callers: CallerLookup,
    /// Proves for whom requests are made.
    pub users: UserGuard,
    /// Whether the services and their messages can be listed, as in development.
    pub serves_reflection: bool,
}

/// Serves `routes` until the lifecycle stops. `names` are the full names of the gRPC services, for the health
/// service.
///
/// # Errors
/// The port is in use.
pub async fn serve(
    parts: ServerParts,
    routes: Routes,
    names: &[&str],
    lifecycle: &ProcessLifecycle,
) -> anyhow::Result<()> {
    let mut routes = routes.add_service(health_service(names, lifecycle).await);
    if parts.serves_reflection {
        routes = routes.add_service(
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(talktime_proto::FILE_DESCRIPTOR_SET)
                .build_v1()?,
        );
    }
    register_metrics();
    let runner = GrpcMethodRunner::new(lifecycle.clone());
    // One box around all layers, which each request clones, instead of one around each.
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn_with_state(
            parts.find_callers,
            refuse_strangers,
        ))
        .layer(middleware::from_fn_with_state(runner, run_method))
        .layer(middleware::from_fn_with_state(parts.users, require_user));
    let routes = routes.into_axum_router().layer(layers);
    let stopping = lifecycle.stopping();
    let listener = TcpListener::bind(parts.listen).await?;
    Server::builder()
        .max_connection_age(CONNECTION_AGE_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .max_concurrent_streams(CONCURRENT_STREAMS_MAX)
        .http2_max_pending_accept_reset_streams(Some(CANCELLED_STREAMS_MAX))
        .add_routes(Routes::from(routes))
        .serve_with_incoming_shutdown(
            accept_connections(listener, parts.identity),
            stopping.cancelled_owned(),
        )
        .await?;
    Ok(())
}

/// Refuses a method to processes that do not belong to its declared callers.
async fn refuse_strangers(
    State(find_callers): State<CallerLookup>,
    request: Request,
    next: Next,
) -> Response {
    let caller = find_caller(&request);
    let path = request.uri().path();
    if is_allowed(path, caller, find_callers) {
        return next.run(request).await;
    }
    report_refusal(path, caller);
    refusal(
        ErrorKind::PermissionDenied,
        "caller_not_allowed",
        "This process may not call this method.",
    )
}

/// Returns the health service, which clients query: with an empty name it stops serving at the start of a drain, so
/// that they go elsewhere. `names` serve until the end.
async fn health_service(names: &[&str], lifecycle: &ProcessLifecycle) -> HealthServer<impl Health> {
    let (reporter, server) = tonic_health::server::health_reporter();
    for name in names {
        reporter
            .set_service_status(*name, ServingStatus::Serving)
            .await;
    }
    tokio::spawn(report_draining(reporter, lifecycle.draining()));
    server
}

async fn report_draining(reporter: HealthReporter, draining: CancellationToken) {
    draining.cancelled().await;
    reporter
        .set_service_status("", ServingStatus::NotServing)
        .await;
}

/// Runs each method in a task of its own, with a bounded number of tasks; cheap to clone.
#[derive(Clone)]
struct GrpcMethodRunner {
    lifecycle: ProcessLifecycle,
    permits: Arc<Semaphore>,
}

impl GrpcMethodRunner {
    fn new(lifecycle: ProcessLifecycle) -> Self {
        Self {
            lifecycle,
            permits: Arc::new(Semaphore::new(CONCURRENT_METHODS_MAX)),
        }
    }

    /// Returns the answer of the method, or an error if there is none.
    async fn run(&self, answer: impl Future<Output = Response> + Send + 'static) -> Response {
        let Ok(permit) = self.permits.clone().try_acquire_owned() else {
            return refusal(
                ErrorKind::Unavailable,
                "overloaded",
                "Too much is going on; please try again in a moment.",
            );
        };
        let method = async move {
            let _permit = permit;
            answer.await
        };
        match self.lifecycle.run_to_completion(method).await {
            Ok(response) => response,
            Err(error) => refuse(Error::internal(error)).into_http(),
        }
    }
}

/// Continues the trace of the caller, enforces the deadline of the caller, and records metrics.
async fn run_method(
    State(runner): State<GrpcMethodRunner>,
    request: Request,
    next: Next,
) -> Response {
    // Every peer checks the health every second; these calls would outnumber all other traces.
    if request.uri().path().starts_with(HEALTH_PATHS) {
        return next.run(request).await;
    }
    let method = request.uri().path().trim_start_matches('/').to_owned();
    let headers = request.headers();
    let span = tracing::info_span!(
        "grpc",
        otel.name = %method,
        otel.kind = "server",
        trace_id = tracing::field::Empty,
    );
    trace::adopt(
        &span,
        headers
            .get(trace::TRACEPARENT)
            .and_then(|value| value.to_str().ok()),
    );
    let started = Instant::now();
    let deadline = started + timeout_of(&request);

    let answer = async move {
        let answer = grpc::with_deadline(deadline, next.run(request));
        let answered = tokio::time::timeout_at(deadline.into(), answer).await;
        answered.unwrap_or_else(|_elapsed| Status::from(grpc::deadline_exceeded()).into_http())
    };
    let response = runner.run(answer.instrument(span)).await;
    record_duration(method, started, &response);
    response
}

fn refusal(kind: ErrorKind, code: &'static str, detail: &'static str) -> Response {
    Status::from(Error::new(kind, code, detail)).into_http()
}

/// The caller's `grpc-timeout` (gRPC over HTTP/2: up to eight digits and a unit), bounded.
fn timeout_of(request: &Request) -> Duration {
    let header = request.headers().get("grpc-timeout");
    header
        .and_then(|value| value.to_str().ok())
        .and_then(parse_timeout)
        .map_or(TIMEOUT_DEFAULT, |timeout| timeout.min(TIMEOUT_MAX))
}

fn parse_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

fn record_duration(method: String, started: Instant, response: &Response) {
    // A failed unary call has its status in the headers; a successful one in the trailers.
    let status = Status::from_header_map(response.headers());
    let code = status.map_or(Code::Ok, |status| status.code());
    metrics::histogram!("grpc_server_duration_seconds", "method" => method, "code" => format!("{code:?}"))
        .record(started.elapsed());
}

/// Converts the error of a handler into a status. Logs the causes of failures on our side here and nowhere
/// else, since the status does not carry them.
pub fn refuse(error: Error) -> Status {
    if error.is_outcome_unknown() {
        tracing::error!(
            error = chain(&error),
            "failed to handle request; the caller may retry"
        );
    }
    Status::from(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_in_every_unit() {
        assert_eq!(parse_timeout("2S"), Some(Duration::from_secs(2)));
        assert_eq!(parse_timeout("150m"), Some(Duration::from_millis(150)));
        assert_eq!(
            parse_timeout("1999999u"),
            Some(Duration::from_micros(1_999_999))
        );
        assert_eq!(parse_timeout(""), None);
        assert_eq!(parse_timeout("fast"), None);
    }
}
