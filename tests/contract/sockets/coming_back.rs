//! Resumption after a reconnect.

use serde_json::{Value, json};
use talktime_client::{AppUser, UserRole};
use talktime_tests::replica::start_gateway;
use talktime_tests::{CallPair, WAIT_MAX, connect_app};

use super::{open, receive_about, send_marker};

#[tokio::test]
async fn every_gateway_sends_a_change_with_the_same_number() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    let (watcher, person) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let (mut here, hello) = open(&app, "/ws/presence", &watcher).await;
    let mut remote_socket = replica
        .app
        .connect_socket("/ws/presence", &watcher)
        .await
        .expect("accepted");
    let hello_there = remote_socket
        .receive_type("hello", WAIT_MAX)
        .await
        .expect("hello");
    assert_eq!(hello["data"]["epoch"], hello_there["data"]["epoch"]);
    send_marker(&app, &person, 31).await;
    // Either gateway may have sent the sign-up of the user before.
    let is_marked = |message: &Value| {
        message["type"] == "status_change"
            && message["data"]["user_id"] == person.user_id
            && message["data"]["wait_time"] == 31
    };
    let heard_here = here
        .receive_matching("the change", WAIT_MAX, is_marked)
        .await;
    let heard_there = remote_socket
        .receive_matching("the change", WAIT_MAX, is_marked)
        .await;
    assert_eq!(
        heard_here.expect("received"),
        heard_there.expect("heard there")
    );
}

#[tokio::test]
async fn a_reconnecting_client_gets_missed_messages_on_any_gateway() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    let (watcher, person) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let (mut socket, hello) = open(&app, "/ws/presence", &watcher).await;
    send_marker(&app, &person, 41).await;
    let last = receive_about(&mut socket, "status_change", person.user_id).await;
    drop(socket);
    send_marker(&app, &person, 42).await;
    send_marker(&app, &person, 43).await;

    let epoch = hello["data"]["epoch"].as_str().expect("an epoch");
    let since = last["seq"].as_u64().expect("a number");
    let path = format!("/ws/presence?since={since}&epoch={epoch}");
    for gateway in [&*app, &replica.app] {
        let mut socket = gateway
            .connect_socket(&path, &watcher)
            .await
            .expect("accepted");
        let hello = socket.receive_next(WAIT_MAX).await.expect("hello");
        assert_eq!(
            (&hello["type"], &hello["seq"]),
            (&json!("hello"), &json!(since))
        );
        let newest = socket.receive_matching("the newest", WAIT_MAX, |message| {
            message["type"] == "status_change"
                && message["data"]["user_id"] == person.user_id
                && message["data"]["wait_time"] == 43
        });
        newest.await.expect("what was missed");
    }
}

#[tokio::test]
async fn a_client_that_missed_too_much_gets_a_snapshot() {
    let pair = CallPair::sign_up().await;
    let watcher = pair.app.sign_up(UserRole::User).await;
    let call_id = pair.start_call().await;
    let snapshot = async |path: &str, person: &AppUser| {
        let path = format!("{path}?since=5&epoch=another");
        let (mut socket, hello) = open(&pair.app, &path, person).await;
        let snapshot = socket.receive_next(WAIT_MAX).await.expect("a snapshot");
        assert_eq!(snapshot["type"], "snapshot", "{snapshot}");
        assert_eq!(snapshot["seq"], hello["seq"]);
        snapshot["data"].clone()
    };
    for path in ["/ws/feed", "/ws/presence"] {
        let listed = snapshot(path, &watcher).await;
        let statuses = listed["statuses"].as_array().expect("statuses");
        let of_listener = |status: &&Value| status["user_id"] == pair.listener.user_id;
        let status = statuses.iter().find(of_listener).expect("they are online");
        assert_eq!(status["is_busy"], true);
        assert!(listed["is_complete"].is_boolean());
    }
    let call = snapshot("/ws/calls", &pair.caller).await;
    assert_eq!(call["call"]["call_id"], call_id);
    let nothing = snapshot("/ws/notifications", &watcher).await;
    assert_eq!(nothing, json!({"is_complete": false}));
}
