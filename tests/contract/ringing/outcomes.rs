//! How rings end without a call.

use serde_json::{Value, json};
use talktime_client::ApiAnswer;
use talktime_tests::{ExpectAnswer, assert_books_are_right, wait_for};

use super::{COINS, RingingPair};
use crate::assert_problem;

fn assert_ring_over(refused: &ApiAnswer, outcome: &str) {
    assert_problem(refused, 409, "ring_over");
    assert_eq!(refused.body["outcome"], outcome, "{refused:?}");
}

#[tokio::test]
async fn a_listener_rejects_for_a_reason_that_the_caller_learns() {
    for (body, reason) in [
        (json!({}), "declined"),
        (json!({"reason": "busy"}), "busy"),
        (json!({"reason": "later"}), "later"),
    ] {
        let ringing = RingingPair::sign_up().await;
        let call_id = ringing.start_ring().await;
        let rejected = ringing.reject(call_id, &body).await;
        let expected = json!({"call_id": call_id, "outcome": "rejected", "reason": reason});
        assert_eq!((rejected.status, &rejected.body), (200, &expected));
        ringing.assert_unanswered(call_id, "rejected", reason).await;
        let again = ringing.reject(call_id, &json!({"reason": "busy"})).await;
        assert_eq!(again.body, expected, "as the first time");
        assert_ring_over(&ringing.cancel(call_id).await, "rejected");
        assert_ring_over(&ringing.accept(call_id).await, "rejected");
        assert_ring_over(&ringing.acknowledge(call_id).await, "rejected");
    }
}

#[tokio::test]
async fn a_rejection_needs_no_body() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    let path = format!("/calls/{call_id}/reject");
    let request = ringing.listener_gateway.post(&path);
    let rejected = request.as_user(&ringing.pair.listener).answer().await;
    assert_eq!(
        (rejected.status, &rejected.body["reason"]),
        (200, &json!("declined")),
        "{rejected:?}"
    );
}

#[tokio::test]
async fn a_caller_takes_a_ring_back() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    let cancelled = ringing.cancel(call_id).await;
    let expected = json!({"call_id": call_id, "outcome": "cancelled"});
    assert_eq!((cancelled.status, &cancelled.body), (200, &expected));
    ringing
        .assert_unanswered(call_id, "cancelled", "hung_up")
        .await;
    assert_eq!(ringing.cancel(call_id).await.body, expected, "once more");
    assert_ring_over(&ringing.reject(call_id, &json!({})).await, "cancelled");
    assert_ring_over(&ringing.accept(call_id).await, "cancelled");
}

#[tokio::test]
async fn an_end_of_a_ring_takes_it_back_or_rejects_it() {
    for (by_caller, outcome, reason) in [
        (true, "cancelled", "hung_up"),
        (false, "rejected", "declined"),
    ] {
        let ringing = RingingPair::sign_up().await;
        let call_id = ringing.start_ring().await;
        let person = if by_caller {
            &ringing.pair.caller
        } else {
            &ringing.pair.listener
        };
        let ended = ringing.pair.end_call(person, call_id).await;
        assert_eq!(ended.status, 200, "{ended:?}");
        assert_eq!(
            (&ended.body["status"], &ended.body["coins_spent"]),
            (&json!("cancelled"), &json!(0)),
            "{ended:?}"
        );
        ringing.assert_unanswered(call_id, outcome, reason).await;
    }
}

/// Waits until the ring has ended by itself.
async fn wait_until_over(ringing: &RingingPair, call_id: i64) {
    wait_for("the ring to end", || async {
        let [state, _] = ringing.states(call_id).await;
        (state["status"] == "unanswered").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_ring_that_no_device_confirms_ends_as_unreachable() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    wait_until_over(&ringing, call_id).await;
    ringing
        .assert_unanswered(call_id, "unreachable", "not_reached")
        .await;
    assert_ring_over(&ringing.accept(call_id).await, "unreachable");
}

#[tokio::test]
async fn a_ring_that_nobody_answers_ends_as_missed() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    assert_eq!(ringing.acknowledge(call_id).await.status, 200);
    wait_until_over(&ringing, call_id).await;
    ringing
        .assert_unanswered(call_id, "missed", "no_answer")
        .await;
}

#[tokio::test]
async fn a_listener_who_logs_out_while_it_rings_is_not_reachable() {
    let ringing = RingingPair::sign_up().await;
    let (app, caller) = (&ringing.pair.app, &ringing.pair.caller);
    let call_id = ringing.start_ring().await;
    let logout = ringing.listener_gateway.post("/auth/logout");
    let logout = logout.as_user(&ringing.pair.listener).answer().await;
    assert_eq!(logout.status, 200, "{logout:?}");
    let path = format!("/calls/{call_id}/state");
    let state = wait_for("the ring to end", || async {
        let state = app.get(&path).as_user(caller).answer().await;
        (state.body["status"] == "unanswered").then_some(state.body)
    })
    .await;
    assert_eq!(state["outcome"], "unreachable", "{state}");
    wait_for("the caller to be free", || async {
        let status = app.get("/users/me/status").as_user(caller).answer().await;
        (status.body["is_busy"] == false).then_some(())
    })
    .await;
    assert_eq!(ringing.pair.load_coins().await, COINS);
}

#[tokio::test]
async fn a_block_ends_a_ring() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    let block = ringing.listener_gateway.post("/block");
    let block = block.as_user(&ringing.pair.listener);
    let body = json!({"blocked_id": ringing.pair.caller.user_id});
    assert_eq!(block.json(&body).answer().await.status, 200);
    wait_until_over(&ringing, call_id).await;
    ringing
        .assert_unanswered(call_id, "cancelled", "blocked")
        .await;
}

#[tokio::test]
async fn a_caller_whose_coins_are_spent_meanwhile_is_not_connected() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    ringing.pair.spend_all_coins().await;
    let refused = ringing.accept(call_id).await;
    assert_problem(&refused, 409, "caller_out_of_coins");
    wait_until_over(&ringing, call_id).await;
    let [state, _] = ringing.states(call_id).await;
    assert_eq!(
        (&state["outcome"], &state["reason"]),
        (&json!("failed"), &json!("insufficient_coins")),
        "{state}"
    );
    assert_eq!(ringing.pair.load_coins().await, 0, "nothing else was taken");
    assert_eq!(ringing.pair.load_earned().await, Value::from(0));
    assert_books_are_right().await;
}
