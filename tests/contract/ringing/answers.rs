//! A ring from the start of the call to its receipt.

use serde_json::{Value, json};
use talktime_tests::{ExpectAnswer, wait_for};

use super::{COINS, RingingPair};
use crate::{assert_fields, assert_problem};

#[tokio::test]
async fn a_ring_costs_nothing_and_is_known_to_both() {
    let ringing = RingingPair::sign_up().await;
    let started = ringing.ring().await;
    assert_eq!(started.status, 200, "{started:?}");
    let body = &started.body;
    assert_eq!(
        (&body["status"], &body["message"], &body["media"]),
        (&json!("ringing"), &json!("Ringing"), &json!("own")),
        "{body}"
    );
    assert_eq!(
        (&body["remaining_coins"], &body["call_duration"]),
        (&json!(COINS), &json!(30)),
        "{body}"
    );
    assert!(body["ring_expires_at"].is_string(), "{body}");
    let call_id = body["call_id"].as_i64().expect("an id");

    let [of_caller, of_listener] = ringing.states(call_id).await;
    for (state, role, peer) in [
        (&of_caller, "caller", &ringing.pair.listener),
        (&of_listener, "listener", &ringing.pair.caller),
    ] {
        assert_eq!(state["status"], "ringing", "{state}");
        assert_eq!(state["role"], role, "{state}");
        assert_eq!(state["peer"]["user_id"], peer.user_id, "{state}");
        assert_eq!(state["peer"]["username"], peer.username, "{state}");
        assert_eq!(state["call_uuid"], body["call_uuid"], "{state}");
        assert_eq!(state["accepted_by_me"], false, "{state}");
        assert_eq!(state["ring_expires_at"], body["ring_expires_at"], "{state}");
    }
    for person in [&ringing.pair.caller, &ringing.pair.listener] {
        let current = ringing
            .pair
            .app
            .get("/calls/current")
            .as_user(person)
            .answer();
        assert_eq!(current.await.body["call_id"], call_id);
        let ongoing = ringing.pair.load_ongoing_call(person).await;
        assert_eq!(ongoing["call_id"], Value::Null, "no call is on");
    }
    assert_eq!(ringing.pair.load_coins().await, COINS);
    assert_eq!(ringing.cancel(call_id).await.status, 200);
}

#[tokio::test]
async fn both_parties_of_a_ring_are_busy_and_have_no_wait_time() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    for person in [&ringing.pair.caller, &ringing.pair.listener] {
        let path = format!("/users/{}/presence", person.user_id);
        wait_for("somebody to be busy", || async {
            let status = ringing.pair.app.get(&path).as_user(person).answer().await;
            let is_busy = status.body["is_busy"] == true;
            is_busy.then(|| assert_eq!(status.body["wait_time"], Value::Null, "{status:?}"))
        })
        .await;
    }
    assert_problem(&ringing.pair.request_call().await, 409, "on_a_call");
    assert_eq!(ringing.cancel(call_id).await.status, 200);
    ringing
        .assert_unanswered(call_id, "cancelled", "hung_up")
        .await;
    let current = ringing.pair.app.get("/calls/current");
    let current = current.as_user(&ringing.pair.caller).answer().await;
    assert_eq!(current.body, json!({"call_id": null}));
}

#[tokio::test]
async fn an_accepted_ring_is_a_call_that_is_paid_like_any_other() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    let acknowledged = ringing.acknowledge(call_id).await;
    assert_eq!(acknowledged.status, 200, "{acknowledged:?}");
    assert!(acknowledged.body["ring_expires_at"].is_string());
    let [state, _] = ringing.states(call_id).await;
    assert_eq!(state["is_reached"], true, "{state}");

    let accepted = ringing.accept(call_id).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    assert_fields(
        &accepted.body,
        &["call_uuid", "accepted_at", "media", "call_type", "caller"],
    );
    assert_eq!(
        (&accepted.body["call_id"], &accepted.body["status"]),
        (&json!(call_id), &json!("ongoing"))
    );
    let caller = &accepted.body["caller"];
    assert_eq!(caller["user_id"], ringing.pair.caller.user_id);
    assert_eq!(caller["username"], ringing.pair.caller.username);
    assert_eq!(ringing.pair.load_coins().await, COINS - 10);
    for person in [&ringing.pair.caller, &ringing.pair.listener] {
        assert_eq!(
            ringing.pair.load_ongoing_call(person).await["call_id"],
            call_id
        );
    }
    let [of_caller, of_listener] = ringing.states(call_id).await;
    assert_eq!(of_caller["accepted_by_me"], false, "{of_caller}");
    assert_eq!(of_listener["accepted_by_me"], true, "{of_listener}");

    let again = ringing.accept(call_id).await;
    assert_eq!(again.body, accepted.body, "the same answer again");
    let ended = ringing.pair.end_call(&ringing.pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_eq!(
        (&ended.body["end_reason"], &ended.body["ended_by"]),
        (&json!("hung_up"), &json!("caller")),
        "{ended:?}"
    );
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(ringing.pair.load_coins().await, COINS - 10 * minutes);
    let receipt = ringing.pair.app.get(&format!("/calls/{call_id}"));
    let receipt = receipt.as_user(&ringing.pair.listener).answer().await;
    assert_eq!(receipt.body["ended_by"], "caller", "{receipt:?}");
    assert_problem(&ringing.accept(call_id).await, 409, "ring_over");
}

#[tokio::test]
async fn an_accepted_call_is_not_taken_back_but_ended() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    assert_eq!(ringing.accept(call_id).await.status, 200);
    for refused in [
        ringing.cancel(call_id).await,
        ringing.reject(call_id, &json!({})).await,
        ringing.acknowledge(call_id).await,
    ] {
        assert_problem(&refused, 409, "ring_over");
        assert_eq!(refused.body["call_status"], "ongoing", "{refused:?}");
    }
    let ended = ringing.pair.end_call(&ringing.pair.listener, call_id).await;
    assert_eq!(
        (ended.status, &ended.body["ended_by"]),
        (200, &json!("listener")),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_key_gets_the_first_answer_of_its_ring_again() {
    let ringing = RingingPair::sign_up().await;
    let body = json!({
        "listener_id": ringing.pair.listener.user_id, "call_type": "audio", "ring": true,
    });
    let start = async || {
        wait_for("an answer to the start", || async {
            let request = ringing.pair.app.post("/calls/start");
            let request = request
                .as_user(&ringing.pair.caller)
                .header("idempotency-key", "ring");
            let started = request.json(&body).answer().await;
            (started.status == 200).then_some(started.body)
        })
        .await
    };
    let first = start().await;
    let call_id = first["call_id"].as_i64().expect("an id");
    assert_eq!(ringing.cancel(call_id).await.status, 200);
    assert_eq!(
        start().await,
        first,
        "the first answer, although the ring is over"
    );
    ringing
        .assert_unanswered(call_id, "cancelled", "hung_up")
        .await;
}
