//! Rings that are refused, and people who have no part in one.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::ExpectAnswer;

use super::{RingingPair, ring};
use crate::assert_problem;

#[tokio::test]
async fn a_ring_is_refused_for_the_reasons_of_any_call() {
    let ringing = RingingPair::sign_up().await;
    let listener = &ringing.pair.listener;
    let set_status = async |status: Value| {
        let put = ringing.pair.app.put("/users/me/status").as_user(listener);
        assert_eq!(put.json(&status).answer().await.status, 200);
    };
    set_status(json!({"accepting_calls": false})).await;
    assert_problem(&ringing.ring().await, 409, "listener_unavailable");
    set_status(json!({"accepting_calls": true, "is_online": false})).await;
    assert_problem(&ringing.ring().await, 409, "listener_offline");
    set_status(json!({"is_online": true})).await;
    let preferences = ringing.pair.app.put("/listeners/me/preferences");
    let preferences = preferences
        .as_user(listener)
        .json(&json!({"video_enabled": false}));
    assert_eq!(preferences.answer().await.status, 200);
    assert_problem(&ringing.ring_for("video").await, 409, "call_type_disabled");
    assert_problem(&ringing.ring_for("text").await, 400, "invalid_call_type");
}

#[tokio::test]
async fn a_ring_needs_coins_for_a_minute() {
    let ringing = RingingPair::sign_up_without_coins().await;
    assert_problem(&ringing.ring().await, 400, "insufficient_coins");
    assert!(
        ringing.pair.are_both_free().await,
        "nobody is kept from calls"
    );
}

#[tokio::test]
async fn a_listener_who_rings_back_learns_of_the_call_that_rings() {
    let ringing = RingingPair::sign_up().await;
    let app = &ringing.pair.app;
    // Both take calls and pay for their own.
    let other = app.sign_up(UserRole::Listener).await;
    for person in [&ringing.pair.listener, &other] {
        let recharge = app.post("/calls/recharge").as_user(person);
        let body = json!({"amount_rupees": 150, "payment_method": "upi"});
        let recharge = recharge.header("idempotency-key", "both").json(&body);
        assert_eq!(recharge.answer().await.status, 200);
    }
    let started = ring(app, &other, &ringing.pair.listener, "audio").await;
    assert_eq!(started.status, 200, "{started:?}");
    let back = ring(
        &ringing.listener_gateway,
        &ringing.pair.listener,
        &other,
        "audio",
    )
    .await;
    assert_problem(&back, 409, "incoming_call");
    assert_eq!(back.body["call_id"], started.body["call_id"], "{back:?}");
    let third = ringing.ring().await;
    assert_problem(&third, 409, "on_a_call");
    assert_eq!(third.body.get("call_id"), None, "{third:?}");
}

#[tokio::test]
async fn three_rings_without_an_answer_are_enough_for_ten_minutes() {
    let ringing = RingingPair::sign_up().await;
    for _ in 0..3 {
        let call_id = ringing.start_ring().await;
        assert_eq!(ringing.cancel(call_id).await.status, 200);
    }
    let refused = ringing.ring().await;
    assert_problem(&refused, 429, "ring_limit");
    let retry_after = refused.header("retry-after").expect("a time to wait");
    assert!(retry_after.parse::<u32>().is_ok(), "{retry_after}");
}

async fn ask_everything(ringing: &RingingPair, person: &AppUser, call_id: i64) -> Vec<ApiAnswer> {
    let gateway = &ringing.listener_gateway;
    let mut answers = Vec::new();
    for action in ["accept", "reject", "cancel", "ringing"] {
        let path = format!("/calls/{call_id}/{action}");
        answers.push(gateway.post(&path).as_user(person).answer().await);
    }
    let path = format!("/calls/{call_id}/state");
    answers.push(gateway.get(&path).as_user(person).answer().await);
    answers
}

#[tokio::test]
async fn strangers_learn_nothing_of_a_ring_and_change_nothing() {
    let ringing = RingingPair::sign_up().await;
    let stranger = ringing.pair.app.sign_up(UserRole::Listener).await;
    let call_id = ringing.start_ring().await;
    // A ring that a device has acknowledged lasts longer.
    assert_eq!(ringing.acknowledge(call_id).await.status, 200);
    for answer in ask_everything(&ringing, &stranger, call_id).await {
        assert_eq!(answer.status, 403, "{answer:?}");
        for field in ["outcome", "call_type", "peer", "call_uuid"] {
            assert_eq!(answer.body.get(field), None, "{answer:?}");
        }
    }
    for answer in ask_everything(&ringing, &stranger, i64::from(i32::MAX) << 20).await {
        assert_problem(&answer, 404, "call_not_found");
    }
    let [state, _] = ringing.states(call_id).await;
    assert_eq!(state["status"], "ringing", "{state}");
    assert_eq!(ringing.cancel(call_id).await.status, 200);
}

#[tokio::test]
async fn a_party_takes_only_the_steps_of_its_own_side() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    let post = async |person: &AppUser, action: &str| {
        let path = format!("/calls/{call_id}/{action}");
        ringing.pair.app.post(&path).as_user(person).answer().await
    };
    for action in ["accept", "reject", "ringing"] {
        let refused = post(&ringing.pair.caller, action).await;
        assert_problem(&refused, 403, "not_the_listener");
    }
    let refused = post(&ringing.pair.listener, "cancel").await;
    assert_problem(&refused, 403, "not_the_caller");
    let refused = ringing.reject(call_id, &json!({"reason": "asleep"})).await;
    assert_problem(&refused, 400, "invalid_reason");
    let refused = ringing.reject(call_id, &json!({"reason": 7})).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(ringing.cancel(call_id).await.status, 200);
}
