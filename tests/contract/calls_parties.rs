//! Sections 3 and 7: deletions and blocks during the start of a call and during the call.

use futures::future::join_all;
use prost::Message as _;
use serde_json::json;
use talktime_client::AppUser;
use talktime_proto::events::subject;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, UserBlocked, UserDeleted};
use talktime_tests::{
    CallPair, ExpectAnswer, assert_books_are_right, connect_nats, read_variable, wait_for,
};

const ROUNDS: usize = 8;
const RECHARGED_COINS: i64 = 300;

/// Starts a call while one of the parties is deleted.
async fn call_and_delete(pair: &CallPair, person: &AppUser) {
    let delete = pair.app.delete("/users/me").as_user(person).answer();
    let (started, deleted) = tokio::join!(pair.request_call(), delete);
    assert_ne!(
        (started.status, deleted.status),
        (200, 200),
        "a deleted user is on a call: {started:?}"
    );
    if let Some(call_id) = started.body["call_id"].as_i64() {
        assert_eq!(deleted.status, 409, "{deleted:?}");
        assert_eq!(deleted.body["code"], "on_a_call", "{deleted:?}");
        let ended = pair.end_call(&pair.caller, call_id).await;
        assert_eq!(ended.status, 200, "{ended:?}");
        assert_eq!(ended.body["remaining_coins"], 290, "{ended:?}");
    }
}

#[tokio::test]
async fn a_start_with_a_listener_who_is_deleted_meanwhile_costs_nothing() {
    let pairs = join_all((0..ROUNDS).map(|_| CallPair::sign_up())).await;
    for pair in &pairs {
        call_and_delete(pair, &pair.listener).await;
        let is_free = || async {
            let ongoing = pair.load_ongoing_call(&pair.caller).await;
            let coins = pair.load_coins().await;
            (ongoing["call_id"].is_null() && coins >= RECHARGED_COINS - 10).then_some(())
        };
        wait_for("the caller to be free", is_free).await;
    }
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_caller_who_is_deleted_during_a_start_gets_no_call() {
    let pairs = join_all((0..ROUNDS).map(|_| CallPair::sign_up())).await;
    for pair in &pairs {
        call_and_delete(pair, &pair.caller).await;
        wait_for("the listener to be free", || async {
            let ongoing = pair.load_ongoing_call(&pair.listener).await;
            ongoing["call_id"].is_null().then_some(())
        })
        .await;
    }
    assert_books_are_right().await;
}

/// Publishes an event as profile does.
async fn publish(kind: Kind) {
    let subject = subject(&kind);
    let event = Event {
        version: 2,
        happened_at: None,
        kind: Some(kind),
    };
    let nats = connect_nats().await;
    let published = nats.publish(subject, event.encode_to_vec().into()).await;
    published.expect("published");
    nats.flush().await.expect("flushed");
}

/// Asserts that a call was dropped and paid for its duration.
async fn assert_ends_by_itself(pair: &CallPair, call_id: i64) {
    let path = format!("/calls/{call_id}");
    let receipt = wait_for("the receipt", || async {
        let receipt = pair.app.get(&path).as_user(&pair.caller).answer().await;
        (receipt.body["status"] != "ongoing").then_some(receipt.body)
    })
    .await;
    assert_eq!(receipt["status"], "dropped", "{receipt}");
    let minutes = receipt["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(receipt["coins_spent"], 10 * minutes, "{receipt}");
    wait_for("the settlement", || async {
        (pair.load_coins().await == RECHARGED_COINS - 10 * minutes).then_some(())
    })
    .await;
    assert!(pair.load_ongoing_call(&pair.caller).await["call_id"].is_null());
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_live_call_of_a_deleted_user_ends_at_once() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let user_id = pair.listener.user_id;
    publish(Kind::UserDeleted(UserDeleted {
        user_id,
        ..UserDeleted::default()
    }))
    .await;
    assert_ends_by_itself(&pair, call_id).await;
}

async fn block(pair: &CallPair, blocked_id: i64) {
    let request = pair.app.post("/block").as_user(&pair.listener);
    let request = request.json(&json!({"blocked_id": blocked_id}));
    let blocked = request.answer().await;
    assert_eq!(blocked.status, 200, "{blocked:?}");
}

#[tokio::test]
async fn a_block_ends_the_call_of_the_two_with_its_paid_minute_and_that_of_nobody_else() {
    let pair = CallPair::sign_up().await;
    let other = CallPair::sign_up().await;
    let (call_id, other_call_id) = (pair.start_call().await, other.start_call().await);
    for blocked_id in [other.listener.user_id, pair.caller.user_id] {
        block(&pair, blocked_id).await;
    }
    assert_ends_by_itself(&pair, call_id).await;
    let receipt = pair.app.get(&format!("/calls/{call_id}"));
    let receipt = receipt.as_user(&pair.caller).answer().await.body;
    assert_eq!(
        (&receipt["end_reason"], &receipt["ended_by"]),
        (&json!("blocked"), &json!("listener")),
        "{receipt}"
    );
    let minute_secs: i64 = read_variable("MINUTE_SECS").parse().expect("a number");
    let paid_secs = receipt["duration_minutes"].as_i64().expect("minutes") * minute_secs;
    assert_eq!(receipt["duration_seconds"], paid_secs, "{receipt}");
    let ended = other.end_call(&other.listener, other_call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
}

/// Waits until two more minutes of a call are paid, and ends it.
async fn assert_goes_on(pair: &CallPair, call_id: i64) {
    wait_for("two more minutes", || async {
        (pair.load_ongoing_call(&pair.caller).await["coins_spent"] == 30).then_some(())
    })
    .await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn a_block_that_is_lifted_at_once_ends_nothing() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    block(&pair, pair.caller.user_id).await;
    let lifting = pair.app.delete("/block").as_user(&pair.listener);
    let lifting = lifting.json(&json!({"blocked_id": pair.caller.user_id}));
    assert_eq!(lifting.answer().await.status, 200);
    assert_goes_on(&pair, call_id).await;
}

#[tokio::test]
async fn a_block_that_was_lifted_before_its_event_arrived_ends_nothing() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let block = UserBlocked {
        user_id: pair.listener.user_id,
        blocked_id: pair.caller.user_id,
        action_type: "block".to_owned(),
    };
    publish(Kind::UserBlocked(block)).await;
    assert_goes_on(&pair, call_id).await;
}
