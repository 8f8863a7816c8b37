//! Calls that ring while parts are down.

use serde_json::json;
use talktime_tests::{CallPair, ExpectAnswer, WAIT_MAX, assert_books_are_right, run_dev, wait_for};

use crate::lock_stack;

#[tokio::test]
async fn a_ring_that_no_device_hears_of_while_nats_is_down_ends_as_unreachable() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    run_dev(&["stop", "nats"]).await;
    let call_id = pair.start_ring().await;
    let path = format!("/calls/{call_id}/state");
    let state = wait_for("the ring to end", || async {
        let state = pair.app.get(&path).as_user(&pair.caller).answer().await;
        (state.body["status"] == "unanswered").then_some(state.body)
    })
    .await;
    assert_eq!(state["outcome"], "unreachable", "{state}");
    assert_eq!(pair.load_coins().await, 300, "nothing was paid");
    let accept = pair.app.post(&format!("/calls/{call_id}/accept"));
    let late = accept.as_user(&pair.listener).answer().await;
    assert_eq!(
        (late.status, &late.body["code"], &late.body["outcome"]),
        (409, &json!("ring_over"), &json!("unreachable")),
        "{late:?}"
    );

    // Afterwards calls ring as before.
    run_dev(&["start", "nats"]).await;
    let mut socket = pair.app.open_socket("/ws/calls", &pair.listener).await;
    socket.receive_type("hello", WAIT_MAX).await.expect("hello");
    let second = pair.start_ring().await;
    let rings = socket.receive_matching("the second ring", WAIT_MAX, |message| {
        message["type"] == "call_ringing" && message["data"]["call_id"] == second
    });
    rings.await.expect("the device hears of it");
    let cancel = pair.app.post(&format!("/calls/{second}/cancel"));
    assert_eq!(cancel.as_user(&pair.caller).answer().await.status, 200);
    assert_books_are_right().await;
}
