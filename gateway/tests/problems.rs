//! The gateway's own answers: what it says without asking any service, and with none to ask.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use secrecy::SecretString;
use serde_json::{Value, json};
use talktime_gateway::app::App;
use talktime_gateway::config::{Config, HttpConfig, PeersConfig, SocketsConfig};
use talktime_gateway::routes::{self, Timeouts};
use talktime_kit::Clock;
use talktime_kit::config::{NatsConfig, RedisConfig};
use talktime_kit::lifecycle::Lifecycle;
use tower::ServiceExt;

/// Nobody listens on port 1.
const NOWHERE: &str = "http://127.0.0.1:1";

fn config() -> Config {
    let nowhere = || NOWHERE.to_owned();
    Config {
        http: HttpConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            request_timeout_ms: 5_000,
            upload_timeout_ms: 5_000,
            trusted_proxies: Vec::new(),
        },
        peers: PeersConfig {
            auth: nowhere(),
            profile: nowhere(),
            presence: nowhere(),
            wallet: nowhere(),
            calls: nowhere(),
            verification: nowhere(),
        },
        redis: RedisConfig {
            url: SecretString::from("redis://127.0.0.1:1"),
        },
        nats: NatsConfig {
            url: "nats://127.0.0.1:1".to_owned(),
        },
        sockets: SocketsConfig::default(),
    }
}

fn gateway(timeout: Duration) -> Router {
    let app =
        App::connect(&config(), Clock::System, Lifecycle::default()).expect("valid addresses");
    let timeouts = Timeouts {
        request: timeout,
        upload: timeout,
    };
    routes::router(app, timeouts)
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

async fn ask(request: http::request::Builder, body: impl Into<Body>) -> Answer {
    ask_within(Duration::from_secs(5), request, body).await
}

async fn ask_within(
    timeout: Duration,
    request: http::request::Builder,
    body: impl Into<Body>,
) -> Answer {
    let request = request.body(body.into()).expect("a request");
    let response = gateway(timeout).oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("in memory").to_bytes();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).expect("JSON"),
    }
}

fn post(path: &str) -> http::request::Builder {
    Request::post(path).header("content-type", "application/json")
}

#[tokio::test]
async fn an_unknown_path_is_a_404() {
    let answer = ask(Request::get("/no/such/path"), "").await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.code(), "not_found");
}

#[tokio::test]
async fn a_wrong_method_is_a_405_that_says_which_are_right() {
    let answer = ask(Request::delete("/auth/verify"), "").await;
    assert_eq!(answer.status, 405);
    assert_eq!(answer.code(), "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("POST"));
}

#[tokio::test]
async fn a_wrong_body_is_a_422_that_names_every_field() {
    let answer = ask(post("/auth/verify"), r#"{"phone": 98}"#).await;
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
async fn what_is_not_json_is_a_422() {
    let answer = ask(post("/auth/verify"), "phone=98").await;
    assert_eq!(answer.status, 422);
    assert_eq!(answer.body["errors"][0]["field"], "body");
}

#[tokio::test]
async fn another_media_type_is_a_415() {
    for request in [
        Request::post("/auth/verify"),
        Request::post("/auth/verify").header("content-type", "text/plain"),
    ] {
        let answer = ask(request, "{}").await;
        assert_eq!(answer.status, 415);
        assert_eq!(answer.code(), "unsupported_media_type");
    }
}

#[tokio::test]
async fn a_large_body_is_a_413() {
    let body = format!(r#"{{"phone": "{}"}}"#, "9".repeat(64 * 1024));
    let answer = ask(post("/auth/request_otp"), body).await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.code(), "body_too_large");
}

#[tokio::test]
async fn a_missing_token_is_a_401_before_the_body_is_looked_at() {
    let answer = ask(post("/calls/start"), "{}").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.code(), "missing_token");
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}

#[tokio::test]
async fn a_malformed_token_is_a_401() {
    let request = Request::get("/users/me").header("authorization", "Bearer nonsense");
    let answer = ask(request, "").await;
    assert_eq!(answer.status, 401);
    assert_eq!(answer.code(), "invalid_token");
}

#[tokio::test]
async fn without_keys_nobody_is_let_in_or_turned_away() {
    // Header {"alg":"EdDSA","kid":"k1"}, claims {}, no signature worth the name.
    let token = "eyJhbGciOiJFZERTQSIsImtpZCI6ImsxIn0.e30.c2ln";
    let request = Request::get("/users/me").header("authorization", format!("Bearer {token}"));
    let answer = ask(request, "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code(), "keys_unavailable");
}

#[tokio::test]
async fn a_service_that_is_down_is_a_503_with_retry_after() {
    let answer = ask(post("/auth/request_otp"), r#"{"phone": "+919812345678"}"#).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code(), "service_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_a_503_in_time() {
    let endless = Body::from_stream(futures::stream::pending::<Result<String, std::io::Error>>());
    let timeout = Duration::from_millis(50);
    let answer = ask_within(timeout, post("/auth/request_otp"), endless).await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.code(), "deadline_exceeded");
}

#[tokio::test]
async fn a_request_keeps_the_id_it_came_with() {
    let request = Request::get("/nowhere").header("x-request-id", "client-7");
    let answer = ask(request, "").await;
    assert_eq!(answer.header("x-request-id"), Some("client-7"));
    assert_eq!(answer.body["request_id"], "client-7");
}

#[tokio::test]
async fn a_socket_path_takes_sockets_only() {
    let answer = ask(Request::get("/ws/presence"), "").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.code(), "websocket_expected");
}
