//! The meter follows the media: it runs from the moment at which both are connected until no sound arrives any more.

use serde_json::{Value, json};
use talktime_tests::{assert_books_are_right, wait_for};

use super::{COINS, MediaCall, PRICE, join, next_of, next_state, report};

#[tokio::test]
async fn the_first_minute_begins_when_both_are_connected() {
    let (mut call, caller_epoch, listener_epoch) = MediaCall::joined().await;
    let call_id = call.call_id;
    assert_eq!(call.state().await["status"], "connecting");
    report(&mut call.caller_socket, call_id, caller_epoch, "connected").await;
    next_state(&mut call.caller_socket, call_id, "connecting").await;
    assert_eq!(
        call.pair.load_ongoing_call(&call.pair.caller).await["call_id"],
        Value::Null
    );

    report(
        &mut call.listener_socket,
        call_id,
        listener_epoch,
        "connected",
    )
    .await;
    next_state(&mut call.listener_socket, call_id, "connected").await;
    let started = next_of(&mut call.caller_socket, "call_started", call_id).await;
    assert_eq!(started["remaining_coins"], COINS - PRICE, "{started}");
    next_of(&mut call.listener_socket, "call_started", call_id).await;
    let ongoing = call.pair.load_ongoing_call(&call.pair.caller).await;
    assert_eq!(
        (&ongoing["call_id"], &ongoing["coins_spent"]),
        (&json!(call_id), &json!(PRICE))
    );
    next_of(&mut call.caller_socket, "call_billing", call_id).await;
    let ended = call.pair.end_call(&call.pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    call.assert_paid(&ended.body, 2).await;
}

#[tokio::test]
async fn a_call_that_never_connects_costs_nothing() {
    let mut call = MediaCall::accepted().await;
    let call_id = call.call_id;
    let epoch = join(&mut call.caller_socket, call_id).await["epoch"]
        .as_i64()
        .expect("an epoch");
    report(&mut call.caller_socket, call_id, epoch, "connected").await;
    let unanswered = next_of(&mut call.caller_socket, "call_unanswered", call_id).await;
    assert_eq!(
        (&unanswered["outcome"], &unanswered["reason"]),
        (&json!("failed"), &json!("no_media")),
        "{unanswered}"
    );
    wait_for("the coins to be back", || async {
        (call.pair.load_coins().await == COINS).then_some(())
    })
    .await;
    wait_for("both to be free", || async {
        call.pair.are_both_free().await.then_some(())
    })
    .await;
    assert_books_are_right().await;
}

#[tokio::test]
async fn hanging_up_before_both_are_connected_costs_nothing() {
    let (mut call, caller_epoch, _) = MediaCall::joined().await;
    let call_id = call.call_id;
    report(&mut call.caller_socket, call_id, caller_epoch, "connected").await;
    let ended = call.pair.end_call(&call.pair.listener, call_id).await;
    assert_eq!(
        (ended.status, &ended.body["status"]),
        (200, &json!("cancelled")),
        "{ended:?}"
    );
    next_of(&mut call.caller_socket, "call_unanswered", call_id).await;
    wait_for("the coins to be back", || async {
        (call.pair.load_coins().await == COINS).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_call_ends_when_both_have_lost_it() {
    let (mut call, caller_epoch, listener_epoch) = MediaCall::live().await;
    let call_id = call.call_id;
    report(
        &mut call.caller_socket,
        call_id,
        caller_epoch,
        "disconnected",
    )
    .await;
    for socket in [&mut call.caller_socket, &mut call.listener_socket] {
        let state = next_state(socket, call_id, "peer_lost").await;
        let ends_at = state.get("ends_at");
        assert_eq!(ends_at, None, "one side alone ends nothing: {state}");
    }
    report(&mut call.listener_socket, call_id, listener_epoch, "failed").await;
    let state = next_state(&mut call.listener_socket, call_id, "peer_lost").await;
    assert!(state["ends_at"].is_string(), "{state}");
    next_state(&mut call.caller_socket, call_id, "lost").await;
    let ended = next_of(&mut call.caller_socket, "call_ended", call_id).await;
    assert_eq!(
        (&ended["end_reason"], &ended["ended_by"]),
        (&json!("media_lost"), &json!("server")),
        "{ended}"
    );
    let receipt = call.receipt().await;
    // Both were lost within a second or two of the start, so the minutes charged since are returned.
    assert_eq!(receipt["coins_spent"], ended["coins_spent"], "{receipt}");
    let minutes = receipt["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(call.pair.load_coins().await, COINS - PRICE * minutes);
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_call_goes_on_when_the_media_comes_back() {
    let (mut call, caller_epoch, listener_epoch) = MediaCall::live().await;
    let call_id = call.call_id;
    call.report_both(caller_epoch, listener_epoch, "disconnected")
        .await;
    report(&mut call.caller_socket, call_id, caller_epoch, "connected").await;
    next_state(&mut call.listener_socket, call_id, "peer_lost").await;
    report(
        &mut call.listener_socket,
        call_id,
        listener_epoch,
        "connected",
    )
    .await;
    next_state(&mut call.listener_socket, call_id, "connected").await;
    // Six further minutes are longer than a call without sound may last.
    for _ in 0..6 {
        next_of(&mut call.caller_socket, "call_billing", call_id).await;
    }
    assert_eq!(call.state().await["status"], "ongoing");
    assert_eq!(
        call.pair.end_call(&call.pair.caller, call_id).await.status,
        200
    );
}
