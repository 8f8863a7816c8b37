//! What is around every request: its id and trace, a deadline, a net for panics, one line in the
//! log, one observation in the metrics; and errors become problem documents.

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
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::{Error, Kind, grpc, trace};
use tracing::Instrument;
use uuid::Uuid;

use crate::problem::{Problem, Result};
use crate::turns::Turns;
use crate::{head, limits};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_LENGTH_MAX: usize = 128;
/// The label of requests to no route: their paths are the client's and have no bound.
const NO_ROUTE: &str = "unmatched";

/// What the log and the metrics call a request: nothing that a client can make up.
struct Label {
    method: &'static str,
    route: String,
}

/// No address of ours comes near it.
const URI_BYTES_MAX: usize = 8 * 1024;
/// Names and values of all headers together.
const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// What is around requests.
#[derive(Clone, Debug)]
pub struct Around {
    /// How long a request may take, its body included.
    pub timeout: Duration,
    /// Where it comes in.
    pub turns: Turns,
    /// Waits for requests when the process stops.
    pub lifecycle: Lifecycle,
}

/// Runs a request in its turn and within its time, in a task of its own: a client that hangs up neither
/// leaves its request half done nor cancels streams on the connections to services that all clients
/// share. Its turn lasts as long as its work does.
pub async fn around_every_request(
    State(around): State<Around>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let label = Label::of(&request);
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
    let lifecycle = around.lifecycle.clone();
    let answer = async move {
        let answer = answer_within(around, started, request, next).await;
        let problem = answer.extensions().get::<Problem>().cloned();
        let mut response = match &problem {
            Some(problem) => with_headers_of(&answer, problem.document(&request_id)),
            None => answer,
        };
        let echo = HeaderValue::from_str(&request_id).expect("visible ASCII is a header value");
        response.headers_mut().insert(REQUEST_ID, echo);
        observe(&label, started, &response, problem.as_ref());
        response
    };
    let answered = lifecycle.run_to_completion(answer.instrument(span)).await;
    // Panics are caught closer to the request: this is a runtime that shuts down.
    answered.unwrap_or_else(|error| Problem::from(Error::internal(error)).into_response())
}

async fn answer_within(around: Around, started: Instant, request: Request, next: Next) -> Response {
    let deadline = started + around.timeout;
    let answer = AssertUnwindSafe(answer_in_turn(&around.turns, request, next)).catch_unwind();
    let answer = grpc::with_deadline(deadline, answer);
    match tokio::time::timeout_at(deadline.into(), answer).await {
        Ok(Ok(answer)) => answer.unwrap_or_else(IntoResponse::into_response),
        Ok(Err(panic)) => panicked(panic.as_ref()).into_response(),
        Err(_elapsed) => Problem::from(too_late()).into_response(),
    }
}

async fn answer_in_turn(turns: &Turns, request: Request, next: Next) -> Result<Response, Problem> {
    check_head(&request)?;
    let _turn = turns.take().await?;
    Ok(next.run(request).await)
}

fn check_head(request: &Request) -> Result<(), Error> {
    let uri = request.uri();
    let uri_bytes = uri.path().len() + uri.query().map_or(0, str::len);
    if uri_bytes > URI_BYTES_MAX {
        let detail = "The address of this request is too long.";
        return Err(Error::new(Kind::UriTooLong, "uri_too_long", detail));
    }
    let headers = request.headers().iter();
    let headers_bytes: usize = headers
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum();
    if headers_bytes > HEADERS_BYTES_MAX {
        let detail = "The headers of this request are too large.";
        return Err(Error::new(
            Kind::HeadersTooLarge,
            "headers_too_large",
            detail,
        ));
    }
    head::check(request)
}

fn panicked(panic: &(dyn Any + Send)) -> Problem {
    let message = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    Error::internal(format!("panicked: {message}")).into()
}

fn too_late() -> Error {
    Error::new(
        Kind::DeadlineExceeded,
        "deadline_exceeded",
        "This took too long; please try again.",
    )
}

/// The router knows which methods a path takes and says so beside a 405; and who is counted is told
/// where they stand.
fn with_headers_of(answer: &Response, mut document: Response) -> Response {
    for name in limits::HEADERS.into_iter().chain([ALLOW]) {
        if let Some(value) = answer.headers().get(&name) {
            document.headers_mut().insert(name, value.clone());
        }
    }
    document
}

/// The client's id for this request if it is sane, else one of ours.
fn request_id(headers: &HeaderMap) -> String {
    headers
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(|id| (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len()))
        .filter(|id| id.bytes().all(|byte| byte.is_ascii_graphic()))
        .map_or_else(|| Uuid::now_v7().to_string(), str::to_owned)
}

impl Label {
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

/// The request's line in the log and its observation in the metrics. The line names the route and
/// not the path or query: those may hold tokens.
fn observe(label: &Label, started: Instant, response: &Response, problem: Option<&Problem>) {
    let Label { method, route } = label;
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
    fn a_sane_request_id_is_kept() {
        assert_eq!(request_id(&headers("abc-123")), "abc-123");
        let longest = "x".repeat(REQUEST_ID_LENGTH_MAX);
        assert_eq!(request_id(&headers(&longest)), longest);
    }

    #[test]
    fn any_other_request_id_is_replaced() {
        let too_long = "x".repeat(REQUEST_ID_LENGTH_MAX + 1);
        for id in ["", "two words", "naïve", too_long.as_str()] {
            let made = request_id(&headers(id));
            assert!(made.parse::<Uuid>().is_ok(), "{id:?} became {made}");
        }
        assert!(request_id(&HeaderMap::new()).parse::<Uuid>().is_ok());
    }
}
