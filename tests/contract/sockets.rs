//! The WebSocket contract: presence.

use talktime_client::{Role, Socket};
use talktime_tests::{Answered, Pair, WAIT_MAX, app};

#[tokio::test]
async fn a_call_shows_on_the_presence_socket_of_everyone() {
    let pair = Pair::meet().await;
    let watcher = pair.app.sign_up(Role::User).await;
    let mut socket = pair.app.open_socket("/ws/presence", &watcher).await;
    let hello = socket.next_of_type("hello", WAIT_MAX).await.expect("hello");
    assert!(
        hello["data"]["epoch"].is_string() || hello["data"]["epoch"].is_i64(),
        "{hello}"
    );
    assert!(hello["seq"].is_i64(), "{hello}");

    let call_id = pair.must_call().await;
    let busy = status_of(&mut socket, pair.listener.user_id, true).await;
    for field in [
        "username",
        "is_online",
        "wait_time",
        "last_seen",
        "is_available",
    ] {
        assert!(busy["data"].get(field).is_some(), "{field}: {busy}");
    }
    assert!(
        busy["timestamp"]
            .as_str()
            .is_some_and(|at| at.ends_with('Z')),
        "{busy}"
    );
    assert!(busy["seq"].as_i64() > hello["seq"].as_i64());
    assert_eq!(pair.end(&pair.caller, call_id).await.status, 200);
    status_of(&mut socket, pair.listener.user_id, false).await;
}

/// The next message that shows this person so.
async fn status_of(socket: &mut Socket, user_id: i64, is_busy: bool) -> serde_json::Value {
    loop {
        let message = socket
            .next_of_type("status_change", WAIT_MAX)
            .await
            .expect("a change");
        if message["data"]["user_id"] == user_id && message["data"]["is_busy"] == is_busy {
            return message;
        }
    }
}

#[tokio::test]
async fn a_heartbeat_is_a_presence_update() {
    let app = app().await;
    let (watcher, person) = (app.sign_up(Role::User).await, app.sign_up(Role::User).await);
    let mut socket = app.open_socket("/ws/presence", &watcher).await;
    socket.next_of_type("hello", WAIT_MAX).await.expect("hello");
    app.post("/users/me/heartbeat").of(&person).answer().await;
    loop {
        let update = socket
            .next_of_type("presence_update", WAIT_MAX)
            .await
            .expect("an update");
        if update["data"]["user_id"] == person.user_id {
            return;
        }
    }
}

#[tokio::test]
async fn a_ping_gets_a_pong() {
    let app = app().await;
    let person = app.sign_up(Role::User).await;
    let mut socket = app.open_socket("/ws/presence", &person).await;
    socket
        .send(&serde_json::json!({"type": "ping"}))
        .await
        .expect("sent");
    socket.next_of_type("pong", WAIT_MAX).await.expect("pong");
}

#[tokio::test]
async fn a_socket_without_a_valid_token_is_told_why_and_closed() {
    let app = app().await;
    for token in ["", "nonsense"] {
        let opened = Socket::open(app.gateway_url(), "/ws/presence", Some(token)).await;
        let mut socket = opened.expect("accepted, to be told why it is refused");
        let error = socket
            .next_of_type("error", WAIT_MAX)
            .await
            .expect("an error");
        assert_eq!(error["data"]["code"], "AUTH_FAILED", "{error}");
        assert_eq!(socket.closed(WAIT_MAX).await.expect("closed").code, 4401);
    }
}
