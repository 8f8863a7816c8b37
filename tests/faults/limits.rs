//! Calls without signs of life, and calls that are cancelled at once: both by limits that an operator sets.

use serde_json::{Value, json};
use talktime_client::AppUser;
use talktime_tests::{CallPair, ExpectAnswer, assert_books_are_right, run_dev, wait_for};

use crate::lock_stack;

async fn restart_calls(variables: &[&str]) {
    let mut command = vec!["restart", "calls", "--no-build"];
    for variable in variables {
        command.extend(["--env", variable]);
    }
    run_dev(&command).await;
}

async fn load_newest_call(pair: &CallPair) -> Value {
    wait_for("the history", || async {
        let history = pair
            .app
            .get("/calls/history")
            .as_user(&pair.caller)
            .answer()
            .await;
        (history.status == 200).then(|| history.body["calls"][0].clone())
    })
    .await
}

async fn send_heartbeat(pair: &CallPair, person: &AppUser) {
    let beat = pair
        .app
        .post("/users/me/heartbeat")
        .as_user(person)
        .answer()
        .await;
    assert_eq!(beat.status, 200, "{beat:?}");
}

#[tokio::test]
async fn a_call_without_signs_of_life_ends_at_the_last_one() {
    let _stack = lock_stack().await;
    restart_calls(&["TALKTIME_CALLS__SILENCE_MAX_SECS=5"]).await;
    let left = CallPair::sign_up().await;
    left.start_call().await;
    let kept = CallPair::sign_up().await;
    let kept_id = kept.start_call().await;
    // A sign of life of one party suffices.
    wait_for("the call to be ended", || async {
        send_heartbeat(&kept, &kept.listener).await;
        left.load_ongoing_call(&left.caller).await["call_id"]
            .is_null()
            .then_some(())
    })
    .await;
    let call = wait_for("the settlement", || async {
        let call = load_newest_call(&left).await;
        (call["listener_money_earned"] != 0).then_some(call)
    })
    .await;
    // There was no sign of life after the start, so minutes after the first one are returned.
    assert_eq!(
        (&call["status"], &call["duration_minutes"]),
        (&json!("dropped"), &json!(1))
    );
    assert_eq!(
        (&call["coins_spent"], &call["duration_seconds"]),
        (&json!(10), &json!(0))
    );
    assert_eq!(left.load_coins().await, 290);
    assert_eq!(left.load_earned().await, 1);
    assert_eq!(
        kept.load_ongoing_call(&kept.caller).await["call_id"],
        kept_id
    );
    assert_eq!(kept.end_call(&kept.caller, kept_id).await.status, 200);
    restart_calls(&[]).await;
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_call_cancelled_within_the_grace_costs_nothing() {
    let _stack = lock_stack().await;
    restart_calls(&[
        "TALKTIME_CALLS__CANCEL_GRACE_SECS=10",
        "TALKTIME_CALLS__MINUTE_SECS=30",
    ])
    .await;
    let pair = CallPair::sign_up().await;
    let cancel = async |person: &AppUser| {
        let body = json!({"call_id": pair.start_call().await, "reason": "cancelled"});
        let ended = pair
            .app
            .post("/calls/end")
            .as_user(person)
            .json(&body)
            .answer()
            .await;
        assert_eq!(ended.status, 200, "{ended:?}");
        ended.body
    };
    let taken_back = cancel(&pair.caller).await;
    for (field, value) in [
        ("status", json!("cancelled")),
        ("coins_spent", json!(0)),
        ("duration_minutes", json!(0)),
        ("listener_money_earned", json!(0)),
        ("remaining_coins", json!(300)),
    ] {
        assert_eq!(taken_back[field], value, "{field}: {taken_back}");
    }
    assert_eq!(pair.load_coins().await, 300);
    // The grace applies to the caller alone, and only if it is configured.
    assert_eq!(cancel(&pair.listener).await["coins_spent"], 10);
    restart_calls(&[]).await;
    assert!(cancel(&pair.caller).await["coins_spent"].as_i64() >= Some(10));
    assert_books_are_right().await;
}
