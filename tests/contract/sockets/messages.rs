//! Messages of clients.

use serde_json::json;
use talktime_client::UserRole;
use talktime_tests::{CallPair, WAIT_MAX, connect_app};

use super::{assert_quiet, open};

#[tokio::test]
async fn an_invalid_message_is_answered_and_affects_nobody_else() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let (mut socket, _) = open(&app, "/ws/presence", &person).await;
    for (text, code) in [
        ("", "INVALID_MESSAGE"),
        ("{", "INVALID_MESSAGE"),
        ("[1]", "INVALID_MESSAGE"),
        (r#"{"type": 7}"#, "INVALID_MESSAGE"),
        (r#"{"type": "subscribe"}"#, "INVALID_MESSAGE"),
        (
            r#"{"type": "subscribe", "data": {"user_ids": ["x"]}}"#,
            "INVALID_MESSAGE",
        ),
        (r#"{"type": "dance"}"#, "UNKNOWN_TYPE"),
    ] {
        socket.send_text(text).await.expect("sent");
        let error = socket
            .receive_type("error", WAIT_MAX)
            .await
            .expect("an error");
        assert_eq!(error["data"]["code"], code, "{text}: {error}");
    }
    socket.send_binary(&[0xff; 8]).await.expect("sent");
    let error = socket
        .receive_type("error", WAIT_MAX)
        .await
        .expect("an error");
    assert_eq!(error["data"]["code"], "INVALID_MESSAGE");
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    socket.receive_type("pong", WAIT_MAX).await.expect("pong");

    let (mut broken, _) = open(&app, "/ws/presence", &person).await;
    // The frame has reserved bits and an undefined opcode (RFC 6455, section 5.2).
    broken
        .write_raw(&[0xff, 0x80, 1, 2, 3, 4])
        .await
        .expect("written");
    let closed = broken.wait_until_closed(WAIT_MAX).await.expect("closed");
    assert_eq!(closed.code, 1002, "{closed:?}");
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    let other = socket.receive_type("pong", WAIT_MAX).await;
    other.expect("the other socket goes on");
}

#[tokio::test]
async fn a_message_has_at_most_64_kib() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let ping_of = |length: usize| {
        let frame = json!({"type": "ping", "data": {"pad": ""}}).to_string();
        let pad = "x".repeat(length - frame.len());
        json!({"type": "ping", "data": {"pad": pad}}).to_string()
    };
    let (mut socket, _) = open(&app, "/ws/calls", &person).await;
    socket.send_text(&ping_of(64 * 1024)).await.expect("sent");
    socket.receive_type("pong", WAIT_MAX).await.expect("pong");
    for length in [64 * 1024 + 1, 1024 * 1024] {
        let (mut socket, _) = open(&app, "/ws/calls", &person).await;
        let sent = socket.send_text(&ping_of(length)).await;
        sent.expect("the gateway takes it in, though not to read it");
        let closed = socket.wait_until_closed(WAIT_MAX).await.expect("closed");
        assert_eq!(closed.code, 1009, "{length}: {closed:?}");
    }
}

#[tokio::test]
async fn a_flooding_client_is_closed_and_others_are_not() {
    let pair = CallPair::sign_up_without_coins().await;
    let (mut flooding, _) = open(&pair.app, "/ws/calls", &pair.caller).await;
    let (mut neighbour, _) = open(&pair.app, "/ws/calls", &pair.listener).await;
    for _ in 0..200 {
        if flooding.send(&json!({"type": "ping"})).await.is_err() {
            break;
        }
    }
    let error = flooding
        .receive_type("error", WAIT_MAX)
        .await
        .expect("an error");
    assert_eq!(error["data"]["code"], "RATE_LIMITED");
    assert_eq!(
        flooding
            .wait_until_closed(WAIT_MAX)
            .await
            .expect("closed")
            .code,
        4429
    );
    assert_quiet(&mut neighbour).await;
}
