//! The middleware of every request: its id and trace, a deadline, handling of panics, one line in the log, one
//! observation in the metrics, and the problem documents of errors.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use http::header::ALLOW;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use talktime_kit::error::chain;
use talktime_kit::grpc::{RequestOrigin, with_request_origin};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::tokens::{UserToken, parse_bearer};
use talktime_kit::{Error, ErrorKind, grpc, trace};
use tracing::Instrument;
use uuid::Uuid;

use crate::concurrency::ConcurrencyLimit;
use crate::extract::{AuditReason, TrustedProxies};
use crate::problem::{Problem, Result};
use crate::{head, limits};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LENGTH_MAX: usize = 128;
/// The label of requests to unknown paths, of which clients can invent any number.
const NO_ROUTE: &str = "unmatched";

/// Names a request in the log and the metrics, with values that clients cannot invent.
struct RequestLabel {
    method: &'static str,
    route: String,
}

/// Much longer than any valid address.
const URI_BYTES_MAX: usize = 8 * 1024;
/// Names and values of all headers together.
const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// The settings of the request middleware of one router.
#[derive(Clone, Debug)]
pub struct RequestLayer {
    /// How long a request may take, including its body.
    pub timeout: Duration,
    /// Shared by all routers of the process.
    pub concurrency: ConcurrencyLimit,
    /// Determines the address that a request counts for.
    pub proxies: TrustedProxies,
    /// Waits for running requests when the process stops.
    pub lifecycle: ProcessLifecycle,
}

/// Runs a request with a permit and a deadline, in a task of its own: a client that disconnects neither leaves its
/// request half done nor resets streams on the connections to services that all clients share. The request keeps
/// its permit until it is done.
pub async fn request_middleware(
    State(layer): State<RequestLayer>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let label = RequestLabel::of(&request);
    let request_id = request_id(request.headers());
    let span = tracing::info_span!(
        "http",
        otel.name = format!("{} {}", label.method, label.route),
        otel.kind = "server",
        request_id,
        trace_id = tracing::field::Empty,
    );
    let traceparent = request.headers().get(trace::TRACEPARENT);
    trace::adopt(&span, traceparent.and_then(|value| value.to_str().ok()));
    let lifecycle = layer.lifecycle.clone();
    let answer = async move {
        let answer = answer_in_time(layer, started, request, next).await;
        let problem = answer.extensions().get::<Problem>().cloned();
        let mut response = match &problem {
            Some(problem) => copy_headers(&answer, problem.to_document(&request_id)),
            None => answer,
        };
        let echo = HeaderValue::from_str(&request_id).expect("visible ASCII is a header value");
        response.headers_mut().insert(REQUEST_ID, echo);
        record_request(&label, started, &response, problem.as_ref());
        response
    };
    let answered = lifecycle.run_to_completion(answer.instrument(span)).await;
    // Panics of handlers are caught earlier, so this happens only while the runtime shuts down.
    answered.unwrap_or_else(|error| Problem::from(Error::internal(error)).into_response())
}

async fn answer_in_time(
    layer: RequestLayer,
    started: Instant,
    request: Request,
    next: Next,
) -> Response {
    let deadline = started + layer.timeout;
    // Services verify it themselves, so one that is not valid does no harm.
    let token = parse_bearer(request.headers()).ok().flatten();
    let token = token.map(UserToken::new);
    let origin = RequestOrigin {
        client_address: layer
            .proxies
            .find_client(request.extensions(), request.headers()),
        audit_reason: AuditReason::parse(request.headers()).unwrap_or_default().0,
    };
    let answer = AssertUnwindSafe(answer_with_permit(&layer, request, next)).catch_unwind();
    let answer = with_request_origin(origin, answer);
    let answer = grpc::with_deadline(deadline, grpc::with_user_token(token, answer));
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(Ok(answer)) => answer.unwrap_or_else(IntoResponse::into_response),
        Ok(Err(panic)) => panic_problem(panic.as_ref()).into_response(),
        Err(_elapsed) => Problem::from(deadline_exceeded()).into_response(),
    }
}

async fn answer_with_permit(
    layer: &RequestLayer,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    check_sizes_and_head(&request)?;
    let address = layer
        .proxies
        .address_key(request.extensions(), request.headers());
    let _permit = layer.concurrency.acquire(address).await?;
    Ok(next.run(request).await)
}

fn check_sizes_and_head(request: &Request) -> Result<(), Error> {
    let uri = request.uri();
    let uri_bytes = uri.path().len() + uri.query().map_or(0, str::len);
    if uri_bytes > URI_BYTES_MAX {
        let detail = "The address of this request is too long.";
        return Err(Error::new(ErrorKind::UriTooLong, "uri_too_long", detail));
    }
    let headers = request.headers().iter();
    let headers_bytes: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers_bytes > HEADERS_BYTES_MAX {
        let detail = "The headers of this request are too large.";
        return Err(Error::new(
            ErrorKind::HeadersTooLarge,
            "headers_too_large",
            detail,
        ));
    }
    head::check_head(request)
}

fn panic_problem(panic: &(dyn Any + Send)) -> Problem {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Error::internal(format!("panicked: {message}")).into()
}

fn deadline_exceeded() -> Error {
    Error::new(
        ErrorKind::DeadlineExceeded,
        "deadline_exceeded",
        "This took too long; please try again.",
    )
}

/// Copies the headers that the inner layers have set: the methods of a path beside a 405, and the state of the
/// rate limit.
fn copy_headers(answer: &Response, mut document: Response) -> Response {
    for name in limits::HEADERS.into_iter().chain([ALLOW]) {
        if let Some(value) = answer.headers().get(&name) {
            document.headers_mut().insert(name, value.clone());
        }
    }
    document
}

/// Returns the client's id for this request if it is valid, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len()))
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

impl RequestLabel {
    fn of(request: &Request) -> Self {
        let route = request
            .extensions()
            .get::<MatchedPath>()
            .map_or(NO_ROUTE, MatchedPath::as_str);
        Self {
            method: method_name(request.method()),
            route: route.to_owned(),
        }
    }
}

fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Logs a request and records it in the metrics. The line names the route instead of the path and the query, which
/// may contain tokens.
fn record_request(
    label: &RequestLabel,
    started: Instant,
    response: &Response,
    problem: Option<&Problem>,
) {
    let RequestLabel { method, route } = label;
    let elapsed = started.elapsed();
    let status = response.status().as_u16();
    metrics::histogram!(
        "http_server_duration_seconds",
        "method" => *method,
        "route" => route.clone(),
        "status" => status.to_string(),
    )
    .record(elapsed);
    let duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    match problem.map(Problem::error) {
        Some(error) if error.is_outcome_unknown() => {
            tracing::error!(
                method,
                route,
                status,
                duration_ms,
                error = chain(error),
                "request"
            );
        }
        Some(error) => {
            tracing::info!(
                method,
                route,
                status,
                duration_ms,
                code = error.code(),
                "request"
            );
        }
        None => tracing::info!(method, route, status, duration_ms, "request"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_str(id).expect("a header"))])
    }

    #[test]
    fn a_valid_request_id_is_kept() {
        assert_eq!(request_id(&headers("abc-123")), "abc-123");
        let longest = "x".repeat(REQUEST_ID_LENGTH_MAX);
        assert_eq!(request_id(&headers(&longest)), longest);
    }

    #[test]
    fn any_other_request_id_is_replaced() {
        let too_long = "x".repeat(REQUEST_ID_LENGTH_MAX + 1);
        for id in ["", "two words", "naïve", too_long.as_str()] {
            let made_id = request_id(&headers(id));
            assert!(made_id.parse::<Uuid>().is_ok(), "{id:?} became {made_id}");
        }
        assert!(request_id(&HeaderMap::new()).parse::<Uuid>().is_ok());
    }
}
