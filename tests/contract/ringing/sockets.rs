//! Messages about rings on the sockets of both gateways.

use serde_json::{Value, json};
use talktime_client::{ApiClient, AppSocket, AppUser};
use talktime_tests::{ExpectAnswer, WAIT_MAX, wait_for};

use super::RingingPair;
use crate::assert_fields;
use crate::sockets::open;

/// The next message of this type about this call.
async fn next_of(socket: &mut AppSocket, r#type: &str, call_id: i64) -> Value {
    let is_about_call =
        |message: &Value| message["type"] == r#type && message["data"]["call_id"] == call_id;
    let received = socket
        .receive_matching(r#type, WAIT_MAX, is_about_call)
        .await;
    let mut received = received.expect("a message about the call");
    assert_fields(
        &received["data"],
        &[
            "call_id",
            "call_uuid",
            "user_id",
            "listener_id",
            "call_type",
            "status",
        ],
    );
    received["data"].take()
}

async fn open_both(ringing: &RingingPair) -> (AppSocket, AppSocket) {
    let (of_caller, _) = open(&ringing.pair.app, "/ws/calls", &ringing.pair.caller).await;
    let gateway = &ringing.listener_gateway;
    let (of_listener, _) = open(gateway, "/ws/calls", &ringing.pair.listener).await;
    (of_caller, of_listener)
}

#[tokio::test]
async fn both_follow_a_ring_that_is_accepted_until_the_call_ends() {
    let ringing = RingingPair::sign_up().await;
    let (mut of_caller, mut of_listener) = open_both(&ringing).await;
    let call_id = ringing.start_ring().await;
    for (socket, direction, peer) in [
        (&mut of_caller, "outgoing", &ringing.pair.listener),
        (&mut of_listener, "incoming", &ringing.pair.caller),
    ] {
        let ring = next_of(socket, "call_ringing", call_id).await;
        assert_eq!(
            (&ring["status"], &ring["direction"], &ring["media"]),
            (&json!("ringing"), &json!(direction), &json!("own")),
            "{ring}"
        );
        assert!(ring["expires_at"].is_string(), "{ring}");
        assert_fields(&ring["peer"], &["profile_image_url", "rating"]);
        assert_eq!(ring["peer"]["user_id"], peer.user_id, "{ring}");
        assert_eq!(ring["peer"]["username"], peer.username, "{ring}");
        assert_eq!(ring.get("remaining_coins"), None, "{ring}");
    }
    assert_eq!(ringing.acknowledge(call_id).await.status, 200);
    next_of(&mut of_caller, "call_reached", call_id).await;

    assert_eq!(ringing.accept(call_id).await.status, 200);
    let of_both = [
        next_of(&mut of_caller, "call_accepted", call_id).await,
        next_of(&mut of_listener, "call_accepted", call_id).await,
    ];
    for accepted in &of_both {
        assert!(accepted["accepted_at"].is_string(), "{accepted}");
        assert_eq!(accepted["status"], "ongoing", "{accepted}");
    }
    assert_eq!(of_both[0].get("accepted_session_id"), None);
    assert!(of_both[1]["accepted_session_id"].is_string());
    for socket in [&mut of_caller, &mut of_listener] {
        next_of(socket, "call_started", call_id).await;
    }
    assert_eq!(
        ringing
            .pair
            .end_call(&ringing.pair.listener, call_id)
            .await
            .status,
        200
    );
    for socket in [&mut of_caller, &mut of_listener] {
        let ended = next_of(socket, "call_ended", call_id).await;
        assert_eq!(
            (&ended["end_reason"], &ended["ended_by"]),
            (&json!("hung_up"), &json!("listener")),
            "{ended}"
        );
    }
}

#[tokio::test]
async fn both_learn_how_a_ring_ended_without_a_call() {
    let ringing = RingingPair::sign_up().await;
    let (mut of_caller, mut of_listener) = open_both(&ringing).await;
    let call_id = ringing.start_ring().await;
    let rejected = ringing.reject(call_id, &json!({"reason": "busy"})).await;
    assert_eq!(rejected.status, 200, "{rejected:?}");
    for socket in [&mut of_caller, &mut of_listener] {
        let unanswered = next_of(socket, "call_unanswered", call_id).await;
        assert_eq!(
            (
                &unanswered["outcome"],
                &unanswered["reason"],
                &unanswered["ended_by"]
            ),
            (&json!("rejected"), &json!("busy"), &json!("listener")),
            "{unanswered}"
        );
        assert_eq!(unanswered["status"], "unanswered", "{unanswered}");
        assert!(unanswered["rung_seconds"].is_i64(), "{unanswered}");
    }
}

#[tokio::test]
async fn a_device_confirms_over_its_socket_that_it_rings() {
    let ringing = RingingPair::sign_up().await;
    let (mut of_caller, mut of_listener) = open_both(&ringing).await;
    let call_id = ringing.start_ring().await;
    let confirm = json!({"type": "ringing", "data": {"call_id": call_id}});
    of_listener.send(&confirm).await.expect("sent");
    let answer = of_listener.receive_type("ringing_response", WAIT_MAX).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer["data"]["is_ringing"], true, "{answer}");
    assert!(answer["data"]["ring_expires_at"].is_string(), "{answer}");
    next_of(&mut of_caller, "call_reached", call_id).await;

    assert_eq!(ringing.cancel(call_id).await.status, 200);
    of_listener.send(&confirm).await.expect("sent");
    let answer = of_listener.receive_type("ringing_response", WAIT_MAX).await;
    let answer = answer.expect("an answer");
    assert_eq!(answer["data"]["is_ringing"], false, "{answer}");
    for (message, code) in [
        (json!({"type": "ringing"}), "INVALID_MESSAGE"),
        (
            json!({"type": "ringing", "data": {"call_id": "x"}}),
            "INVALID_MESSAGE",
        ),
        (
            json!({"type": "ringing", "data": {"call_id": i64::MAX}}),
            "CALL_REFUSED",
        ),
    ] {
        of_listener.send(&message).await.expect("sent");
        let error = of_listener.receive_type("error", WAIT_MAX).await;
        assert_eq!(error.expect("an error")["data"]["code"], code);
    }
    of_caller.send(&confirm).await.expect("sent");
    let error = of_caller.receive_type("error", WAIT_MAX).await;
    assert_eq!(error.expect("an error")["data"]["code"], "CALL_REFUSED");
}

async fn take_snapshot(gateway: &ApiClient, person: &AppUser) -> Value {
    let (mut socket, _) = open(gateway, "/ws/calls?since=5&epoch=another", person).await;
    let snapshot = socket.receive_type("snapshot", WAIT_MAX).await;
    snapshot.expect("a snapshot")["data"].take()
}

#[tokio::test]
async fn a_snapshot_has_the_call_that_rings() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    let of_caller = take_snapshot(&ringing.pair.app, &ringing.pair.caller).await;
    assert_eq!(of_caller["call"], Value::Null, "{of_caller}");
    let listener = &ringing.pair.listener;
    let of_listener = take_snapshot(&ringing.listener_gateway, listener).await;
    for (snapshot, role) in [(&of_caller, "caller"), (&of_listener, "listener")] {
        assert_eq!(snapshot["ring"]["call_id"], call_id, "{snapshot}");
        assert_eq!(snapshot["ring"]["role"], role, "{snapshot}");
        assert_eq!(snapshot["ring"]["status"], "ringing", "{snapshot}");
    }
    assert_eq!(ringing.accept(call_id).await.status, 200);
    let live = take_snapshot(&ringing.listener_gateway, listener).await;
    assert_eq!(
        (&live["call"]["call_id"], &live["ring"]),
        (&json!(call_id), &Value::Null),
        "{live}"
    );
    assert_eq!(
        ringing
            .pair
            .end_call(&ringing.pair.caller, call_id)
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn three_rings_in_a_row_without_an_answer_pause_calls() {
    let ringing = RingingPair::sign_up().await;
    let listener = &ringing.pair.listener;
    let gateway = &ringing.listener_gateway;
    let (mut notifications, _) = open(gateway, "/ws/notifications", listener).await;
    for _ in 0..3 {
        let call_id = ringing.start_ring().await;
        wait_for("the ring to end", || async {
            let [state, _] = ringing.states(call_id).await;
            (state["status"] == "unanswered").then_some(())
        })
        .await;
    }
    let paused = notifications.receive_type("calls_paused", WAIT_MAX).await;
    let paused = paused.expect("a notification");
    assert_eq!(
        (&paused["data"]["reason"], &paused["data"]["count"]),
        (&json!("unanswered"), &json!(3)),
        "{paused}"
    );
    wait_for("calls to be paused", || async {
        let status = gateway
            .get("/users/me/status")
            .as_user(listener)
            .answer()
            .await;
        (status.body["accepting_calls"] == false).then_some(())
    })
    .await;
    let beat = gateway
        .post("/users/me/heartbeat")
        .as_user(listener)
        .answer();
    assert_eq!(beat.await.status, 200);
    let put = gateway.put("/users/me/status").as_user(listener);
    let resumed = put.json(&json!({"accepting_calls": true})).answer().await;
    assert_eq!(resumed.body["accepting_calls"], true, "{resumed:?}");
}
