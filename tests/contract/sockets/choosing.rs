//! Subscriptions, forms of changes, and blocks.

use std::time::Duration;

use serde_json::json;
use talktime_client::UserRole;
use talktime_tests::{CallPair, ExpectAnswer, WAIT_MAX, wait_for};

use super::{open, receive_about, send_marker};

/// Time to wait for a message before the next attempt.
const ONE_SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn a_subscription_limits_the_users_of_a_socket() {
    let pair = CallPair::sign_up_without_coins().await;
    let watcher = pair.app.sign_up(UserRole::User).await;
    let (mut socket, _) = open(&pair.app, "/ws/presence", &watcher).await;
    let (chosen, other) = (&pair.listener, &pair.caller);
    let choose = json!({"type": "subscribe", "data": {"user_ids": [chosen.user_id]}});
    socket.send(&choose).await.expect("sent");
    let subscribed = socket.receive_type("subscribed", WAIT_MAX).await;
    let subscribed = subscribed.expect("an answer");
    assert_eq!(subscribed["data"]["user_ids"], json!([chosen.user_id]));
    send_marker(&pair.app, other, 11).await;
    send_marker(&pair.app, chosen, 12).await;
    let first = socket.receive_type("status_change", WAIT_MAX).await;
    assert_eq!(first.expect("a change")["data"]["wait_time"], 12);

    let widen = json!({"type": "unsubscribe", "data": {"user_ids": [chosen.user_id]}});
    socket.send(&widen).await.expect("sent");
    socket
        .receive_type("subscribed", WAIT_MAX)
        .await
        .expect("an answer");
    send_marker(&pair.app, other, 13).await;
    receive_about(&mut socket, "status_change", other.user_id).await;
}

#[tokio::test]
async fn changes_are_sent_in_both_forms_or_in_the_chosen_one() {
    let pair = CallPair::sign_up_without_coins().await;
    let watcher = pair.app.sign_up(UserRole::User).await;
    for (query, expected) in [
        ("", ["status_change", "presence_update"].as_slice()),
        ("?changes=status_change", &["status_change"]),
        ("?changes=presence_update", &["presence_update"]),
    ] {
        let path = format!("/ws/presence{query}");
        let (mut socket, _) = open(&pair.app, &path, &watcher).await;
        let choose = json!({"type": "subscribe", "data": {"user_ids": [pair.caller.user_id]}});
        socket.send(&choose).await.expect("sent");
        let chosen = socket.receive_type("subscribed", WAIT_MAX).await;
        chosen.expect("an answer");
        for wait_time in [21, 22] {
            send_marker(&pair.app, &pair.caller, wait_time).await;
            for r#type in expected {
                let change = socket.receive_matching("a change", WAIT_MAX, |message| {
                    message["data"]["wait_time"] == wait_time
                });
                assert_eq!(change.await.expect("a change")["type"], *r#type, "{query}");
            }
        }
    }
}

#[tokio::test]
async fn blocks_hold_at_once_and_in_both_directions() {
    let pair = CallPair::sign_up_without_coins().await;
    let bystander = pair.app.sign_up(UserRole::User).await;
    let (mut of_caller, _) = open(&pair.app, "/ws/presence", &pair.caller).await;
    let (mut of_listener, _) = open(&pair.app, "/ws/presence", &pair.listener).await;
    let (mut notified, _) = open(&pair.app, "/ws/notifications", &pair.caller).await;
    let block = json!({"blocked_id": pair.listener.user_id});
    let request = pair.app.post("/block").as_user(&pair.caller).json(&block);
    assert_eq!(request.answer().await.status, 200);
    notified
        .receive_type("user_blocked", WAIT_MAX)
        .await
        .expect("a message");
    send_marker(&pair.app, &pair.caller, 21).await;
    send_marker(&pair.app, &pair.listener, 22).await;
    send_marker(&pair.app, &bystander, 23).await;
    for (socket, hidden) in [
        (&mut of_caller, pair.listener.user_id),
        (&mut of_listener, pair.caller.user_id),
    ] {
        let received = socket.receive_matching("message about either", WAIT_MAX, |message| {
            let user_id = &message["data"]["user_id"];
            *user_id == hidden || *user_id == bystander.user_id
        });
        assert_eq!(
            received.await.expect("received")["data"]["user_id"],
            bystander.user_id
        );
    }
    let request = pair.app.delete("/block").as_user(&pair.caller).json(&block);
    assert_eq!(request.answer().await.status, 200);
    wait_for("the listener to be heard of again", || async {
        let mut wait_time = 24;
        send_marker(&pair.app, &pair.listener, wait_time).await;
        wait_time += 1;
        let (mut socket, _) = open(&pair.app, "/ws/presence", &pair.caller).await;
        send_marker(&pair.app, &pair.listener, wait_time).await;
        let received = socket.receive_matching("of them", ONE_SECOND, |message| {
            message["data"]["user_id"] == pair.listener.user_id
        });
        received.await.ok()
    })
    .await;
}
