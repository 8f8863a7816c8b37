//! The WebSocket contract, with one gateway and with two.

mod choosing;
mod closing;
mod coming_back;
mod entering;
mod frames;
mod messages;
mod telling;
mod tickets;

use std::time::Duration;

use serde_json::{Value, json};
use talktime_client::{ApiClient, AppSocket, AppUser};
use talktime_tests::{ExpectAnswer, TestApp, WAIT_MAX};

const PATHS: [&str; 4] = ["/ws/feed", "/ws/presence", "/ws/calls", "/ws/notifications"];
/// Time limit of a close on a slow machine; the gateway itself has a second.
const CLOSED_WITHIN: Duration = Duration::from_secs(3);

/// Opens a socket; returns it with its hello.
pub(crate) async fn open(gateway: &ApiClient, path: &str, person: &AppUser) -> (AppSocket, Value) {
    let opened = gateway.connect_socket(path, person).await;
    let mut socket = opened.expect("the socket opens");
    let hello = socket
        .receive_next(WAIT_MAX)
        .await
        .expect("a first message");
    assert_eq!(hello["type"], "hello", "{hello}");
    (socket, hello)
}

/// Receives the next message of this type about a user.
async fn receive_about(socket: &mut AppSocket, r#type: &str, user_id: i64) -> Value {
    let is_about_user =
        |message: &Value| message["type"] == r#type && message["data"]["user_id"] == user_id;
    let message = socket
        .receive_matching(r#type, WAIT_MAX, is_about_user)
        .await;
    message.expect("a message about them")
}

async fn set_status(app: &TestApp, person: &AppUser, status: Value) {
    let put = app.put("/users/me/status").as_user(person).json(&status);
    assert_eq!(put.answer().await.status, 200);
}

/// Makes a change that every socket receives, to prove that none received anything before it.
async fn send_marker(app: &TestApp, person: &AppUser, wait_time: i64) {
    set_status(app, person, json!({"wait_time": wait_time})).await;
}

/// Asserts that no message precedes the answer to a ping.
pub(crate) async fn assert_quiet(socket: &mut AppSocket) {
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    let next = socket.receive_next(WAIT_MAX).await.expect("an answer");
    assert_eq!(next["type"], "pong", "{next}");
}

/// Asserts that the socket still answers.
async fn assert_open(socket: &mut AppSocket) {
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    socket.receive_type("pong", WAIT_MAX).await.expect("pong");
}
