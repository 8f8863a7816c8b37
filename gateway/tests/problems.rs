//! The answers of the gateway itself, while all services are unavailable.

use axum::Router;
use axum::body::Body;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::BodyExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use talktime_gateway::app::AppState;
use talktime_gateway::config::{
    CompatibilityConfig, GatewayConfig, PeerAddressConfig, PublicHttpConfig, RateLimitsConfig,
    SocketsConfig,
};
use talktime_gateway::routes;
use talktime_kit::config::{NatsConfig, RedisConfig};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::testing::TestAuthority;
use talktime_kit::{Clock, messaging};
use talktime_proto::access::v1::Workload;
use tower::ServiceExt;

/// No process listens on port 1.
const NOWHERE: &str = "https://127.0.0.1:1";

fn config() -> GatewayConfig {
    let nowhere = || NOWHERE.to_owned();
    GatewayConfig {
        http: PublicHttpConfig::new(([127, 0, 0, 1], 0).into()),
        peers: PeerAddressConfig {
            auth: nowhere(),
            profile: nowhere(),
            presence: nowhere(),
            wallet: nowhere(),
            calls: nowhere(),
            verification: nowhere(),
        },
        redis: RedisConfig {
            url: SecretString::from("redis://127.0.0.1:1"),
            ca_file: None,
        },
        nats: NatsConfig {
            url: "nats://127.0.0.1:1".to_owned(),
            ca_file: None,
            password: SecretString::from("none"),
        },
        require_verified_listeners: false,
        sockets: SocketsConfig::default(),
        recent_login_secs: 0,
        limits: RateLimitsConfig::default(),
        compatibility: CompatibilityConfig::default(),
        app_config_file: None,
    }
}

async fn gateway(http: &PublicHttpConfig) -> Router {
    let connector = TestAuthority::default().connector(Workload::Gateway);
    let config = config();
    let nats = messaging::connect(&config.nats, Workload::Gateway.name())
        .await
        .expect("a valid address");
    let app = AppState::connect(
        &config,
        &connector,
        nats,
        Clock::System,
        ProcessLifecycle::default(),
    );
    routes::router(app.expect("valid addresses"), http)
}

struct Answer {
    status: StatusCode,
    headers: http::HeaderMap,
    body: Value,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Checks what every problem document has, and returns its code.
    fn code(&self) -> &str {
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json")
        );
        assert_eq!(self.body["status"], self.status.as_u16());
        assert_eq!(self.body["type"], "about:blank");
        assert!(self.body["detail"].is_string(), "{}", self.body);
        assert_eq!(
            self.body["request_id"].as_str(),
            self.header("x-request-id")
        );
        self.body["code"].as_str().expect("a code")
    }
}

async fn send_request(request: http::request::Builder, body: impl Into<Body>) -> Answer {
    send_with_config(&config().http, request, body).await
}

async fn send_with_config(
    http: &PublicHttpConfig,
    request: http::request::Builder,
    body: impl Into<Body>,
) -> Answer {
    send_to_router(gateway(http).await, request, body).await
}

async fn send_to_router(
    gateway: Router,
    request: http::request::Builder,
    body: impl Into<Body>,
) -> Answer {
    let mut request = request.body(body.into()).expect("a request");
    let host = HeaderValue::from_static("talktime.example");
    request.headers_mut().entry("host").or_insert(host);
    let response = gateway.oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("in memory").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

/// A body that never arrives.
fn endless() -> Body {
    Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>())
}

fn post(path: &str) -> http::request::Builder {
    Request::post(path).header("content-type", "application/json")
}

#[tokio::test]
async fn an_unknown_path_is_a_404() {
    let answer = send_request(Request::get("/no/such/path"), "").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.code(), "not_found");
}

#[tokio::test]
async fn a_wrong_method_is_a_405_that_lists_the_allowed_ones() {
    let answer = send_request(Request::delete("/auth/verify"), "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.code(), "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn an_invalid_body_is_a_422_that_lists_every_field() {
    let answer = send_request(post("/auth/verify"), r#"{"phone": 98}"#).await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.code(), "invalid_body");
    assert_eq!(
        answer.body["errors"],
        json!([
            {"field": "phone", "message": "invalid type: integer `98`, expected a string"},
            {"field": "otp", "message": "is missing"},
        ])
    );
}

#[tokio::test]
async fn a_body_that_is_not_json_is_a_422() {
    let answer = send_request(post("/auth/verify"), "phone=98").await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.body["errors"][0]["field"], "body");
}

#[tokio::test]
async fn another_media_type_is_a_415() {
    for request in [
        Request::post("/auth/verify"),
        Request::post("/auth/verify").header("content-type", "text/plain"),
    ] {
        let answer = send_request(request, "{}").await;
        assert_eq!(answer.status, 415);
        assert_eq!(answer.code(), "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_large_body_is_a_413() {
    let body = format!(r#"{{"phone": "{}"}}"#, "9".repeat(64 * 1024));
    let answer = send_request(post("/auth/request_otp"), body).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.code(), "body_too_large");
}

#[tokio::test]
async fn a_missing_token_is_a_401_before_the_body_is_read() {
    let answer = send_request(post("/calls/start"), "{}").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.code(), "missing_token");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn a_malformed_token_is_a_401() {
    let request = Request::get("/users/me").header("authorization", "Bearer nonsense");
    let answer = send_request(request, "").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.code(), "invalid_token");
}

#[tokio::test]
async fn without_keys_a_token_is_neither_accepted_nor_refused() {
    // Header {"alg":"EdDSA","kid":"k1"}, claims {}, no signature worth the name.
    let token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.e30.c2ln";
    let request = Request::get("/users/me").header("authorization", format!("Bearer {token}"));
    let answer = send_request(request, "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code(), "keys_unavailable");
}

#[tokio::test]
async fn an_unavailable_service_is_a_503_with_retry_after() {
    let answer = send_request(post("/auth/request_otp"), r#"{"phone": "+919812345678"}"#).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code(), "service_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_a_503_in_time() {
    let http = PublicHttpConfig {
        request_timeout_ms: 50,
        ..config().http
    };
    let answer = send_with_config(&http, post("/auth/request_otp"), endless()).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code(), "deadline_exceeded");
}

#[tokio::test]
async fn a_request_keeps_the_id_of_its_client() {
    let request = Request::get("/nowhere").header("x-request-id", "client-7");
    let answer = send_request(request, "").await;
    assert_eq!(answer.header("x-request-id"), Some("client-7"));
    assert_eq!(answer.body["request_id"], "client-7");
}

#[tokio::test]
async fn a_socket_path_accepts_websockets_only() {
    let answer = send_request(Request::get("/ws/presence"), "").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.code(), "websocket_expected");
}

#[tokio::test]
async fn a_long_address_is_a_414() {
    let answer = send_request(Request::get(format!("/{}", "a".repeat(8 * 1024))), "").await;
    assert_eq!(answer.status, 414);
    assert_eq!(answer.code(), "uri_too_long");
}

#[tokio::test]
async fn large_headers_are_a_431() {
    let request = Request::get("/users/me").header("x-large", "a".repeat(16 * 1024));
    let answer = send_request(request, "").await;
    assert_eq!(answer.status, 431);
    assert_eq!(answer.code(), "headers_too_large");
}

#[tokio::test]
async fn deeply_nested_json_is_refused() {
    let nested = |depth: usize| {
        let more = format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"phone": "98", "otp": "1", "more": {more}}}"#)
    };
    let shallow = send_request(post("/auth/verify"), nested(10)).await;
    assert_eq!(shallow.status, 503, "auth is away: {}", shallow.body);
    for depth in [200, 20_000] {
        let answer = send_request(post("/auth/verify"), nested(depth)).await;
        assert_eq!(answer.status, 422);
        assert_eq!(
            answer.body["errors"],
            json!([{"field": "body", "message": "nested too deeply"}])
        );
    }
}

#[tokio::test]
async fn a_request_beyond_the_limit_is_a_503_at_once() {
    let http = PublicHttpConfig {
        running_max: 1,
        waiting_max: 0,
        ..config().http
    };
    let gateway = gateway(&http).await;
    let first = tokio::spawn(send_to_router(
        gateway.clone(),
        post("/auth/request_otp"),
        endless(),
    ));
    let shed = loop {
        let answer = send_to_router(gateway.clone(), Request::get("/nowhere"), "").await;
        if answer.status != 404 {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(shed.status, 503);
    assert_eq!(shed.code(), "overloaded");
    assert_eq!(shed.header("retry-after"), Some("1"));
    first.abort();
}

#[tokio::test]
async fn every_answer_has_security_headers() {
    let answer = send_request(Request::get("/nowhere"), "").await;
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
        (
            "content-security-policy",
            "default-src 'none'; frame-ancestors 'none'",
        ),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
}

async fn allowed_origin(origins: &[&str]) -> Option<String> {
    let http = PublicHttpConfig {
        cors_origins: origins.iter().map(ToString::to_string).collect(),
        ..config().http
    };
    let preflight = Request::options("/calls/start")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "POST");
    let answer = send_with_config(&http, preflight, "").await;
    let allowed = answer.header("access-control-allow-origin");
    allowed.map(str::to_owned)
}

#[tokio::test]
async fn only_configured_origins_are_allowed() {
    let app = "https://app.example.com";
    assert_eq!(allowed_origin(&[]).await, None);
    assert_eq!(allowed_origin(&["https://other.example.com"]).await, None);
    assert_eq!(allowed_origin(&[app]).await.as_deref(), Some(app));
    assert_eq!(allowed_origin(&["*"]).await.as_deref(), Some("*"));
}

#[tokio::test]
async fn large_answers_are_compressed_if_the_client_accepts_it() {
    let plain = send_request(Request::get("/openapi.json"), "").await;
    assert_eq!(plain.status, 200);
    assert_eq!(plain.body["openapi"], "3.1.0");
    assert_eq!(plain.header("content-encoding"), None);
    let compressed_request = Request::get("/openapi.json").header("accept-encoding", "gzip");
    let packed = send_request(compressed_request, "").await;
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
}

#[tokio::test]
async fn the_asyncapi_document_needs_no_token() {
    let answer = send_request(Request::get("/asyncapi.json"), "").await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.body["asyncapi"], "3.0.0");
}

#[tokio::test]
async fn the_openapi_document_is_served_as_a_page() {
    let page = send_request(Request::get("/docs/"), "").await;
    assert_eq!(page.status, 200);
    assert_eq!(page.header("content-type"), Some("text/html"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.contains("script-src 'self'") || policy.contains("default-src 'self'"));
    let settings = send_request(Request::get("/docs/swagger-initializer.js"), "").await;
    assert_eq!(settings.status, 200);
}
