//! The WebSocket contract, through one gateway and through two.

mod choosing;
mod closing;
mod coming_back;
mod entering;
mod frames;
mod messages;
mod telling;

use std::time::Duration;

use serde_json::{Value, json};
use talktime_client::{ApiClient, AppSocket, AppUser};
use talktime_tests::{ExpectAnswer, TestApp, WAIT_MAX};

const PATHS: [&str; 4] = ["/ws/feed", "/ws/presence", "/ws/calls", "/ws/notifications"];
/// Runners of tests are slow at times; the gateway itself has a second.
const CLOSED_WITHIN: Duration = Duration::from_secs(3);

/// A socket that has said hello; and the hello.
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

/// The next message of this type about this person.
async fn about(socket: &mut AppSocket, r#type: &str, user_id: i64) -> Value {
    let is_it =
        |message: &Value| message["type"] == r#type && message["data"]["user_id"] == user_id;
    let heard = socket.receive_matching(r#type, WAIT_MAX, is_it).await;
    heard.expect("a message about them")
}

async fn set_status(app: &TestApp, person: &AppUser, status: Value) {
    let put = app.put("/users/me/status").as_user(person).json(&status);
    assert_eq!(put.answer().await.status, 200);
}

/// A change that everybody hears, for sockets that are to have heard nothing before it.
async fn mark(app: &TestApp, person: &AppUser, wait_time: i64) {
    set_status(app, person, json!({"wait_time": wait_time})).await;
}

/// Nothing has come before the answer to a ping that is sent now.
pub(crate) async fn assert_quiet(socket: &mut AppSocket) {
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    let next = socket.receive_next(WAIT_MAX).await.expect("an answer");
    assert_eq!(next["type"], "pong", "{next}");
}

/// It still answers.
async fn assert_open(socket: &mut AppSocket) {
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    socket.receive_type("pong", WAIT_MAX).await.expect("pong");
}
