//! Security headers and CORS: what browsers may do with answers, and which web pages may read them.

use std::time::Duration;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY,
    RETRY_AFTER, STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{HeaderName, HeaderValue, Method};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::extract::AUDIT_REASON;
use crate::limits;

/// Answers are data, so browsers must not run, frame or fetch anything in them.
const API_POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// The pages under `/docs` have scripts and styles of their own.
const DOCS_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     frame-ancestors 'none'",
);
const DOCS: &str = "/docs";
const PREFLIGHT_KEPT: Duration = Duration::from_mins(10);
const ANY_ORIGIN: &str = "*";

/// Adds the security headers to an answer.
pub async fn add_security_headers(request: Request, next: Next) -> Response {
    let is_docs = request.uri().path().starts_with(DOCS);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(X_FRAME_OPTIONS, "DENY");
    set(REFERRER_POLICY, "no-referrer");
    // Browsers apply it only to answers that they receive over TLS.
    set(STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    let policy = if is_docs { DOCS_POLICY } else { API_POLICY };
    headers.insert(CONTENT_SECURITY_POLICY, policy);
    response
}

/// Lets web pages of these origins read answers; `*` stands for every origin. Pages send tokens in a header that they
/// set themselves, so no origin is allowed credentials.
pub fn cors_layer(origins: &[String]) -> CorsLayer {
    let origin = if origins.iter().any(|origin| origin == ANY_ORIGIN) {
        AllowOrigin::from(Any)
    } else {
        let values = origins.iter().filter_map(|origin| origin.parse().ok());
        AllowOrigin::list(values.collect::<Vec<HeaderValue>>())
    };
    let request_id = HeaderName::from_static("x-request-id");
    let exposed = [request_id.clone(), RETRY_AFTER].into_iter();
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            AUDIT_REASON,
            HeaderName::from_static("traceparent"),
            request_id,
        ])
        .expose_headers(exposed.chain(limits::HEADERS).collect::<Vec<_>>())
        .max_age(PREFLIGHT_KEPT)
}
