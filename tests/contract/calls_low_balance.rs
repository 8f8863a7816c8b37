//! Section 7: low coins, a recharge during the call, and the end without coins.

use serde_json::{Value, json};
use talktime_client::AppSocket;
use talktime_proto::events::v1::event::Kind;
use talktime_tests::{
    CallPair, EventLog, ExpectAnswer, WAIT_MAX, assert_books_are_right, wait_for,
};

/// Receives the next event about low coins, or the end of this call.
async fn next_low_or_ended(events: &mut EventLog, call_id: i64) -> Kind {
    let event = events.receive_matching(|kind| match kind {
        Kind::CallLowBalance(low) => low.call_id == call_id,
        Kind::CallEnded(ended) => ended.call_id == call_id,
        _ => false,
    });
    event.await.kind.expect("it has one")
}

#[tokio::test]
async fn low_coins_are_announced_once_and_a_recharge_extends_the_call() {
    let pair = CallPair::sign_up().await;
    let mut events = EventLog::subscribe("events.calls.>").await;
    // The coins suffice for five video minutes.
    let body = json!({"listener_id": pair.listener.user_id, "call_type": "video"});
    let start = pair.app.post("/calls/start").as_user(&pair.caller);
    let started = start.json(&body).answer().await;
    assert_eq!(started.status, 200, "{started:?}");
    let call_id = started.body["call_id"].as_i64().expect("an id");

    let Kind::CallLowBalance(low) = next_low_or_ended(&mut events, call_id).await else {
        panic!("the call ended before it was low");
    };
    assert_eq!(
        (low.minute, low.coins_spent, low.remaining_coins),
        (4, 240, 60)
    );
    assert_eq!(low.user_id, pair.caller.user_id);
    wait_for("five more minutes", || async {
        let body = json!({"amount_rupees": 150, "payment_method": "upi"});
        let request = pair.app.post("/calls/recharge").as_user(&pair.caller);
        let bought = request
            .header("idempotency-key", "more")
            .json(&body)
            .answer()
            .await;
        (bought.status == 200).then_some(())
    })
    .await;

    let Kind::CallLowBalance(low) = next_low_or_ended(&mut events, call_id).await else {
        panic!("the top-up did not extend the call");
    };
    assert_eq!(
        (low.minute, low.coins_spent, low.remaining_coins),
        (9, 540, 60)
    );
    // The coins are still low a minute later, which is not announced again.
    let Kind::CallEnded(ended) = next_low_or_ended(&mut events, call_id).await else {
        panic!("it was told twice");
    };
    assert_eq!(
        (ended.status.as_str(), ended.duration_minutes),
        ("dropped", 10)
    );
    assert_eq!(
        (ended.coins_spent, ended.listener_paise_earned),
        (600, 6_000)
    );
    assert_eq!(ended.remaining_coins, Some(0));
    wait_for("the listener to be paid", || async {
        (pair.load_earned().await == json!(60)).then_some(())
    })
    .await;
    assert_eq!(pair.load_coins().await, 0);
    assert_books_are_right().await;
}

/// Receives a message of this type about a call.
async fn receive_about_call(socket: &mut AppSocket, r#type: &'static str, call_id: i64) -> Value {
    let is_warning =
        move |message: &Value| message["type"] == r#type && message["data"]["call_id"] == call_id;
    let message = socket.receive_matching(r#type, WAIT_MAX, is_warning).await;
    message.expect("a message")["data"].clone()
}

#[tokio::test]
async fn both_parties_are_notified_when_coins_run_out() {
    let pair = CallPair::sign_up().await;
    let video = async || {
        let body = json!({"listener_id": pair.listener.user_id, "call_type": "video"});
        let start = pair.app.post("/calls/start").as_user(&pair.caller);
        let started = start.json(&body).answer().await;
        assert_eq!(started.status, 200, "{started:?}");
        started.body["call_id"].as_i64().expect("an id")
    };
    // Two of five minutes are paid, so the coins suffice for three more.
    let first = video().await;
    wait_for("the second minute", || async {
        (pair.load_ongoing_call(&pair.caller).await["coins_spent"] == 120).then_some(())
    })
    .await;
    assert_eq!(pair.end_call(&pair.caller, first).await.status, 200);
    let (coins, earned) = (pair.load_coins().await, pair.load_earned().await.as_i64());
    let minutes = coins / 60;
    let mut of_caller = pair.app.open_socket("/ws/calls", &pair.caller).await;
    let mut of_listener = pair.app.open_socket("/ws/calls", &pair.listener).await;

    let call_id = video().await;
    let low = receive_about_call(&mut of_caller, "call_low_balance", call_id).await;
    assert_eq!(low["remaining_coins"], 60, "{low}");
    for socket in [&mut of_caller, &mut of_listener] {
        let ended = receive_about_call(socket, "call_ended", call_id).await;
        assert_eq!(ended["status"], "dropped", "{ended}");
        assert_eq!(ended["coins_spent"], coins, "{ended}");
        assert_eq!(ended["duration_seconds"], 2 * minutes, "{ended}");
        assert_eq!(ended["listener_money_earned"], 6 * minutes, "{ended}");
    }
    wait_for("the listener to be paid", || async {
        let paid = pair.load_earned().await.as_i64();
        (paid == earned.map(|earned| earned + 6 * minutes)).then_some(())
    })
    .await;
    assert_eq!(pair.load_coins().await, 0);
    assert_books_are_right().await;
}
