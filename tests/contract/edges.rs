//! Section 1: what every endpoint does with what it should not get.

use serde_json::json;
use talktime_tests::{Answered, app};

use crate::assert_problem;

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let app = app().await;
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
async fn a_body_that_is_not_json_is_told_so() {
    let app = app().await;
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
    let answer = app()
        .await
        .post("/auth/request_otp")
        .body("application/json", body)
        .answer()
        .await;
    assert_eq!(answer.status, 413, "{answer:?}");
}

#[tokio::test]
async fn a_request_id_is_made_or_echoed() {
    let app = app().await;
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
async fn everything_but_the_open_doors_asks_for_a_token() {
    let app = app().await;
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
