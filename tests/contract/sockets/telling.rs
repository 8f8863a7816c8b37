//! The messages of each channel and their recipients.

use serde_json::{Value, json};
use talktime_client::UserRole;
use talktime_tests::{CallPair, ExpectAnswer, WAIT_MAX, connect_app, wait_for};

use super::{assert_quiet, open, receive_about, set_status};

#[tokio::test]
async fn a_call_is_visible_on_every_presence_socket() {
    let pair = CallPair::sign_up().await;
    let watcher = pair.app.sign_up(UserRole::User).await;
    let (mut socket, hello) = open(&pair.app, "/ws/presence", &watcher).await;
    assert!(hello["data"]["epoch"].is_string(), "{hello}");
    assert_eq!(hello["data"]["seq"], hello["seq"], "{hello}");

    let call_id = pair.start_call().await;
    let is_busy = |busy: bool| {
        let user_id = pair.listener.user_id;
        move |message: &Value| {
            message["type"] == "status_change"
                && message["data"]["user_id"] == user_id
                && message["data"]["is_busy"] == busy
        }
    };
    let busy = socket
        .receive_matching("busy", WAIT_MAX, is_busy(true))
        .await;
    let busy = busy.expect("busy");
    for field in [
        "username",
        "is_online",
        "wait_time",
        "last_seen",
        "is_available",
    ] {
        assert!(busy["data"].get(field).is_some(), "{field}: {busy}");
    }
    let timestamp = busy["timestamp"].as_str().expect("a timestamp");
    assert!(timestamp.ends_with('Z'), "{busy}");
    assert!(busy["seq"].as_u64() > hello["seq"].as_u64());
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    let free = socket
        .receive_matching("free", WAIT_MAX, is_busy(false))
        .await;
    assert!(free.expect("free")["seq"].as_u64() > busy["seq"].as_u64());
}

#[tokio::test]
async fn the_feed_socket_sends_the_changes_of_listeners() {
    let app = connect_app().await;
    let watcher = app.sign_up(UserRole::User).await;
    let (mut socket, _) = open(&app, "/ws/feed", &watcher).await;
    let person = app.sign_up(UserRole::User).await;
    let listener = app.sign_up(UserRole::Listener).await;
    let id = listener.user_id;
    let online = receive_about(&mut socket, "listener_online", id).await;
    assert_eq!(online["data"]["is_available"], true);
    set_status(&app, &person, json!({"is_busy": true})).await;
    set_status(&app, &listener, json!({"is_busy": true})).await;
    let first = socket.receive_matching("message about either", WAIT_MAX, |message| {
        let user_id = &message["data"]["user_id"];
        *user_id == id || *user_id == person.user_id
    });
    let busy = first.await.expect("a message");
    assert_eq!(busy["type"], "listener_busy", "{busy}");
    assert_eq!(busy["data"]["user_id"], id);
    set_status(&app, &listener, json!({"is_busy": false})).await;
    receive_about(&mut socket, "listener_available", id).await;
    set_status(&app, &listener, json!({"is_online": false})).await;
    let offline = receive_about(&mut socket, "listener_offline", id).await;
    assert_eq!(offline["data"]["is_available"], false);
}

#[tokio::test]
async fn the_calls_socket_notifies_only_the_two_parties() {
    let pair = CallPair::sign_up().await;
    let other = pair.app.sign_up(UserRole::User).await;
    let (mut of_caller, _) = open(&pair.app, "/ws/calls", &pair.caller).await;
    let (mut of_listener, _) = open(&pair.app, "/ws/calls", &pair.listener).await;
    let (mut of_other, _) = open(&pair.app, "/ws/calls", &other).await;
    let call_id = pair.start_call().await;
    let next = |r#type: &'static str| {
        move |message: &Value| message["type"] == r#type && message["data"]["call_id"] == call_id
    };
    for (socket, is_caller) in [(&mut of_caller, true), (&mut of_listener, false)] {
        let started = socket.receive_matching("a start", WAIT_MAX, next("call_started"));
        let data = started.await.expect("started")["data"].clone();
        for field in ["user_id", "listener_id", "call_type", "status"] {
            assert!(data.get(field).is_some(), "{field}: {data}");
        }
        assert_eq!(
            (&data["coins_spent"], &data["minute"]),
            (&json!(10), &json!(1))
        );
        let balance = data.get("remaining_coins").cloned();
        assert_eq!(balance, is_caller.then(|| json!(290)));
        // Minutes of the test stack are short, so the server bills the second one meanwhile.
        let billing = socket.receive_matching("a bill", WAIT_MAX, next("call_billing"));
        let data = billing.await.expect("billed")["data"].clone();
        assert!(data["minute"].as_i64() >= Some(2), "{data}");
    }
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    for socket in [&mut of_caller, &mut of_listener] {
        let ended = socket.receive_matching("an end", WAIT_MAX, next("call_ended"));
        let data = ended.await.expect("ended")["data"].clone();
        assert_eq!(data["status"], "completed", "{data}");
        assert!(data["duration_seconds"].is_i64(), "{data}");
        assert!(data["listener_money_earned"].is_number(), "{data}");
    }
    assert_quiet(&mut of_other).await;
}

#[tokio::test]
async fn notifications_go_only_to_the_user_concerned() {
    let pair = CallPair::sign_up_without_coins().await;
    let (mut own, _) = open(&pair.app, "/ws/notifications", &pair.caller).await;
    let (mut others, _) = open(&pair.app, "/ws/notifications", &pair.listener).await;
    let (caller, id) = (&pair.caller, pair.listener.user_id);
    let favorite = json!({"listener_id": id});
    let block = json!({"blocked_id": id});
    let app = &pair.app;
    for (request, r#type, user_field) in [
        (
            app.post("/favorites/add").json(&favorite),
            "favorites_changed",
            "listener_id",
        ),
        (
            app.delete("/favorites/remove").json(&favorite),
            "favorites_changed",
            "listener_id",
        ),
        (
            app.post("/block").json(&block),
            "user_blocked",
            "blocked_id",
        ),
        (
            app.delete("/block").json(&block),
            "user_unblocked",
            "blocked_id",
        ),
    ] {
        assert_eq!(request.as_user(caller).answer().await.status, 200);
        let message = receive_about(&mut own, r#type, caller.user_id).await;
        assert_eq!(message["data"][user_field], id, "{message}");
    }
    // The listener is notified of the list, and never of the block.
    for (r#type, action) in [("favorite_added", "added"), ("favorite_removed", "removed")] {
        let message = receive_about(&mut others, r#type, caller.user_id).await;
        assert_eq!(message["data"]["username"], caller.username, "{message}");
        assert_eq!(message["data"]["action"], action, "{message}");
    }
    assert_quiet(&mut others).await;
}

#[tokio::test]
async fn only_the_caller_is_notified_of_low_coins() {
    let pair = CallPair::sign_up().await;
    let (mut own, _) = open(&pair.app, "/ws/notifications", &pair.caller).await;
    let (mut others, _) = open(&pair.app, "/ws/notifications", &pair.listener).await;
    // The coins suffice for five minutes; after the fourth, less than two are left.
    let body = json!({"listener_id": pair.listener.user_id, "call_type": "video"});
    let start = pair
        .app
        .post("/calls/start")
        .as_user(&pair.caller)
        .json(&body);
    let started = start.answer().await;
    assert_eq!(started.status, 200, "{started:?}");
    for balance_coins in [60, 0] {
        let low = receive_about(&mut own, "low_balance", pair.caller.user_id).await;
        assert_eq!(low["data"]["balance_coins"], balance_coins, "{low}");
    }
    wait_for("the call's end", || async {
        pair.are_both_free().await.then_some(())
    })
    .await;
    assert_quiet(&mut others).await;
}

#[tokio::test]
async fn heartbeats_and_pings_are_sent_as_presence_updates() {
    let app = connect_app().await;
    let (watcher, person) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let (mut socket, _) = open(&app, "/ws/presence", &watcher).await;
    app.post("/users/me/heartbeat")
        .as_user(&person)
        .answer()
        .await;
    receive_about(&mut socket, "presence_update", person.user_id).await;

    let (mut own, _) = open(&app, "/ws/notifications", &person).await;
    set_status(&app, &person, json!({"is_online": false})).await;
    own.send(&json!({"type": "ping"})).await.expect("sent");
    own.receive_type("pong", WAIT_MAX).await.expect("pong");
    wait_for("the ping to have put them online", || async {
        let status = app.get("/users/me/status").as_user(&person).answer().await;
        (status.body["is_online"] == true).then_some(())
    })
    .await;
}
