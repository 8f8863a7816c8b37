//! Section 1: invalid requests to any endpoint.

use serde_json::{Value, json};
use talktime_client::UserRole;
use talktime_tests::{ExpectAnswer, TestApp, WAIT_MAX, connect_app};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::assert_problem;

/// Sends a head as it is; returns the status of the answer and the code of its problem document.
async fn send_raw_head(app: &TestApp, head: &str, body: &str) -> (u16, String) {
    let address = app.gateway_url().trim_start_matches("http://");
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        let request = format!("{head}connection: close\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(WAIT_MAX, exchange).await;
    let answer = answer.expect("in time").expect("an answer");
    let (answer_head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = answer_head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    let problem: Value = serde_json::from_str(body).unwrap_or_default();
    let code = problem["code"].as_str().unwrap_or_default();
    (status.expect("a status"), code.to_owned())
}

#[tokio::test]
async fn an_ambiguous_head_is_refused() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let token = format!("authorization: Bearer {}\r\n", person.access_token);
    let get = "GET /users/me HTTP/1.1\r\n";
    let one = "host: talktime.example\r\n";
    let json = "content-type: application/json\r\ncontent-length: 2\r\n";
    let key = "idempotency-key: one\r\n";
    for (head, body, (status, code)) in [
        (format!("{get}{one}{token}"), "", (200, "")),
        (format!("{get}{token}"), "", (400, "invalid_host")),
        (format!("{get}{one}{one}{token}"), "", (400, "invalid_host")),
        (
            format!("{get}{one}{token}{token}"),
            "",
            (400, "repeated_header"),
        ),
        (
            format!("{get}{one}{token}authorization: Bearer x\r\n"),
            "",
            (400, "repeated_header"),
        ),
        (
            format!(
                "POST /calls/start HTTP/1.1\r\n{one}{token}{json}{key}idempotency-key: two\r\n"
            ),
            "{}",
            (400, "invalid_idempotency_key"),
        ),
        (
            format!("POST /calls/start HTTP/1.1\r\n{one}{token}{json}{key}{key}"),
            "{}",
            (400, "invalid_idempotency_key"),
        ),
        (
            format!("POST /calls/start HTTP/1.1\r\n{one}{token}{json}content-type: text/plain\r\n"),
            "{}",
            (400, "repeated_header"),
        ),
    ] {
        let answered = send_raw_head(&app, &head, body).await;
        assert_eq!(answered, (status, code.to_owned()), "{head}");
    }
    // hyper refuses these itself, so the answer has no body.
    let lengths = format!("POST /calls/start HTTP/1.1\r\n{one}{token}{json}content-length: 3\r\n");
    let (status, _no_code) = send_raw_head(&app, &lengths, "{}").await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_repeated_query_parameter_is_refused() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for query in ["page=1&page=2", "page=1&page=1"] {
        let path = format!("/calls/history?{query}");
        let answer = app.get(&path).as_user(&person).answer().await;
        assert_problem(&answer, 400, "invalid_query");
    }
}

#[tokio::test]
async fn an_encoded_body_is_an_unsupported_one() {
    let app = connect_app().await;
    // The body is `{}` as gzip.
    let body: &[u8] = &[
        0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xab, 0xae, 5, 0, 0x43, 0xbf, 0xa6, 0xa3, 2, 0, 0, 0,
    ];
    for encoding in ["gzip", "br", "identity, gzip"] {
        let request = app.post("/auth/request_otp").body("application/json", body);
        let answer = request.header("content-encoding", encoding).answer().await;
        assert_problem(&answer, 415, "unsupported_media_type");
    }
    let request = app.post("/auth/request_otp").body("application/json", "{}");
    let answer = request
        .header("content-encoding", "identity")
        .answer()
        .await;
    assert_problem(&answer, 422, "invalid_body");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let app = connect_app().await;
    assert_problem(&app.get("/nowhere").answer().await, 404, "not_found");
    let wrong = app.delete("/auth/verify").answer().await;
    assert_problem(&wrong, 405, "method_not_allowed");
    assert!(
        wrong
            .header("allow")
            .is_some_and(|allow| allow.contains("POST")),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused() {
    let app = connect_app().await;
    for body in ["", "{", "[]", "null", "\"phone\"", "{\"phone\": }"] {
        let answer = app
            .post("/auth/request_otp")
            .body("application/json", body)
            .answer()
            .await;
        assert_eq!(answer.status, 422, "{body}: {answer:?}");
        assert!(answer.body["errors"].is_array(), "{body}: {answer:?}");
    }
    let text = app
        .post("/auth/request_otp")
        .body("text/plain", "phone")
        .answer()
        .await;
    assert_problem(&text, 415, "unsupported_media_type");
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused() {
    let body = format!("{{\"phone\": \"{}\"}}", "1".repeat(2 * 1024 * 1024));
    let answer = connect_app()
        .await
        .post("/auth/request_otp")
        .body("application/json", body)
        .answer()
        .await;
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[tokio::test]
async fn a_request_id_is_made_or_echoed() {
    let app = connect_app().await;
    let echoed = app
        .get("/nowhere")
        .header("x-request-id", "my-request-1")
        .answer()
        .await;
    assert_eq!(echoed.header("x-request-id"), Some("my-request-1"));
    assert_eq!(echoed.body["request_id"], "my-request-1");
    let made = app.get("/nowhere").answer().await;
    assert!(
        made.header("x-request-id").is_some_and(|id| id.len() >= 16),
        "{made:?}"
    );
}

#[tokio::test]
async fn every_endpoint_that_is_not_open_requires_a_token() {
    let app = connect_app().await;
    for (method, path) in [
        ("POST", "/auth/logout"),
        ("GET", "/users/me"),
        ("PUT", "/users/me"),
        ("DELETE", "/users/me"),
        ("GET", "/users/me/status"),
        ("PUT", "/users/me/status"),
        ("POST", "/users/me/heartbeat"),
        ("GET", "/users/1/presence"),
        ("GET", "/users/presence?user_ids=1"),
        ("GET", "/wallet/balance"),
        ("POST", "/calls/recharge"),
        ("GET", "/feed/listeners"),
        ("POST", "/calls/start"),
        ("POST", "/calls/bill-minute/1"),
        ("POST", "/calls/end"),
        ("GET", "/calls/ongoing"),
        ("GET", "/verification/status"),
    ] {
        let answer = app
            .request(method.parse().expect("a method"), path)
            .json(&json!({}))
            .answer()
            .await;
        assert_problem(&answer, 401, "missing_token");
    }
}
