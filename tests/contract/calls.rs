//! Section 7: calls.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::ApiAnswer;
use talktime_tests::{CallPair, ExpectAnswer, assert_books_are_right, wait_for};

use crate::{assert_fields, assert_problem};

async fn start(pair: &CallPair, body: Value) -> ApiAnswer {
    pair.app
        .post("/calls/start")
        .as_user(&pair.caller)
        .json(&body)
        .answer()
        .await
}

#[tokio::test]
async fn a_call_from_start_to_receipt() {
    let pair = CallPair::sign_up().await;
    let body = json!({
        "listener_id": pair.listener.user_id, "call_type": "audio", "estimated_duration_minutes": 5,
    });
    let started = start(&pair, body).await;
    assert_eq!(started.status, 200, "{started:?}");
    let call_id = started.body["call_id"].as_i64().expect("an id");
    assert!(started.body["message"].is_string());
    assert_eq!(started.body["call_duration"], 30);
    assert_eq!(started.body["estimated_cost"], 50);
    assert_eq!(started.body["remaining_coins"], 290);
    assert_eq!(started.body["call_type"], "audio");
    assert_eq!(started.body["listener_id"], pair.listener.user_id);
    assert_eq!(started.body["status"], "ongoing");

    let ongoing = pair.load_ongoing_call(&pair.listener).await;
    assert_fields(
        &ongoing,
        &["start_time", "duration_seconds", "remaining_coins"],
    );
    assert_eq!(ongoing["call_id"], call_id);
    assert_eq!(ongoing["user_id"], pair.caller.user_id);
    assert_eq!(ongoing["caller_username"], pair.caller.username);
    assert_eq!(ongoing["listener_username"], pair.listener.username);
    assert_eq!(
        (&ongoing["coins_spent"], &ongoing["status"]),
        (&json!(10), &json!("ongoing"))
    );
    assert!(
        ongoing["remaining_coins"].is_null(),
        "the caller's coins are the caller's business"
    );

    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_fields(&ended.body, &["message", "duration_seconds"]);
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(ended.body["coins_spent"], 10 * minutes);
    assert_eq!(ended.body["user_money_spend"], 5 * minutes);
    assert_eq!(ended.body["listener_money_earned"], minutes);
    assert_eq!(ended.body["remaining_coins"], 300 - 10 * minutes);
    assert_eq!(ended.body["status"], "completed");
    assert_eq!(pair.load_earned().await, json!(minutes));

    assert_problem(
        &pair.end_call(&pair.caller, call_id).await,
        404,
        "call_not_found",
    );
    let none = pair.load_ongoing_call(&pair.caller).await;
    assert_eq!(none, json!({"call_id": null, "message": "No ongoing call"}));
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_video_call_costs_and_earns_its_own_rate() {
    let pair = CallPair::sign_up().await;
    let started = start(
        &pair,
        json!({"listener_id": pair.listener.user_id, "call_type": "video"}),
    )
    .await;
    assert_eq!(started.body["remaining_coins"], 240, "{started:?}");
    let call_id = started.body["call_id"].as_i64().expect("an id");
    let ended = pair.end_call(&pair.listener, call_id).await;
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(ended.body["listener_money_earned"], 6 * minutes);
    assert!(
        ended.body["remaining_coins"].is_null(),
        "not told to the listener"
    );
}

#[tokio::test]
async fn refusals_leave_nothing_behind() {
    let pair = CallPair::sign_up().await;
    let stranger = CallPair::sign_up_without_coins().await;
    let listener_id = pair.listener.user_id;
    for (body, status, code) in [
        (
            json!({"listener_id": 999_999_999, "call_type": "audio"}),
            404,
            "listener_not_found",
        ),
        (
            json!({"listener_id": pair.caller.user_id, "call_type": "audio"}),
            400,
            "cannot_call_oneself",
        ),
        (
            json!({"listener_id": stranger.caller.user_id, "call_type": "audio"}),
            400,
            "not_a_listener",
        ),
        (
            json!({"listener_id": listener_id, "call_type": "smoke"}),
            400,
            "invalid_call_type",
        ),
        (
            json!({"listener_id": listener_id, "call_type": "audio", "estimated_duration_minutes": 0}),
            400,
            "invalid_estimated_duration",
        ),
    ] {
        assert_problem(&start(&pair, body).await, status, code);
    }
    let offline = json!({"is_online": false});
    pair.app
        .put("/users/me/status")
        .as_user(&pair.listener)
        .json(&offline)
        .answer()
        .await;
    assert_problem(&pair.request_call().await, 409, "listener_offline");
    assert!(pair.are_both_free().await);
    assert_eq!(pair.load_coins().await, 300);
}

#[tokio::test]
async fn a_start_with_too_few_coins_states_how_many_are_missing() {
    let pair = CallPair::sign_up_without_coins().await;
    let refused = pair.request_call().await;
    assert_problem(&refused, 400, "insufficient_coins");
    assert_eq!(
        refused.body["detail"],
        "Insufficient coins. Required: 10, Available: 0"
    );
    assert!(pair.are_both_free().await, "a refusal frees both at once");
}

#[tokio::test]
async fn a_person_is_on_one_call_at_a_time() {
    let pair = CallPair::sign_up().await;
    let rival = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let third = json!({"listener_id": pair.listener.user_id, "call_type": "audio"});
    assert_problem(&start(&rival, third).await, 409, "on_a_call");
    let second = json!({"listener_id": rival.listener.user_id, "call_type": "audio"});
    assert_problem(&start(&pair, second).await, 409, "on_a_call");
    assert_eq!(rival.load_coins().await, 300);
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn twenty_callers_of_one_listener_get_one_call() {
    let listener = CallPair::sign_up_without_coins().await;
    let mut callers = Vec::new();
    for _ in 0..20 {
        callers.push(CallPair::sign_up().await);
    }
    let body = json!({"listener_id": listener.listener.user_id, "call_type": "audio"});
    let answers = join_all(callers.iter().map(|caller| start(caller, body.clone()))).await;
    let started: Vec<_> = callers
        .iter()
        .zip(&answers)
        .filter(|(_, answer)| answer.status == 200)
        .collect();
    assert_eq!(started.len(), 1, "{answers:?}");
    for (caller, answer) in callers.iter().zip(&answers) {
        let coins = if answer.status == 200 { 290 } else { 300 };
        assert_eq!(caller.load_coins().await, coins, "{answer:?}");
    }
    let (caller, answer) = started[0];
    let call_id = answer.body["call_id"].as_i64().expect("an id");
    assert_eq!(caller.end_call(&caller.caller, call_id).await.status, 200);
    assert_books_are_right().await;
}

#[tokio::test]
async fn ten_ends_at_once_settle_once() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let ends = (0..10).map(|n| {
        let person = if n % 2 == 0 {
            &pair.caller
        } else {
            &pair.listener
        };
        pair.end_call(person, call_id)
    });
    for answer in join_all(ends).await {
        assert!([200, 404].contains(&answer.status), "{answer:?}");
    }
    let spent = 300 - pair.load_coins().await;
    assert_eq!(pair.load_earned().await, json!(spent / 10));
    assert_books_are_right().await;
}

#[tokio::test]
async fn only_its_parties_have_access_to_a_call() {
    let pair = CallPair::sign_up().await;
    let stranger = CallPair::sign_up_without_coins().await;
    let call_id = pair.start_call().await;
    let bill = format!("/calls/bill-minute/{call_id}");
    assert_problem(
        &stranger.end_call(&stranger.caller, call_id).await,
        403,
        "not_a_party",
    );
    let billed = pair
        .app
        .post(&bill)
        .as_user(&stranger.caller)
        .answer()
        .await;
    assert_problem(&billed, 403, "not_a_party");
    assert_problem(
        &pair.end_call(&pair.caller, 999_999_999).await,
        404,
        "call_not_found",
    );
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn a_repeated_bill_minute_request_gets_its_first_answer() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let nudge = async |call_id: i64| {
        let bill = format!("/calls/bill-minute/{call_id}");
        pair.app
            .post(&bill)
            .as_user(&pair.caller)
            .header("idempotency-key", "nudge-1")
            .answer()
            .await
    };
    let first = nudge(call_id).await;
    assert_eq!(first.status, 200, "{first:?}");
    wait_for("another minute", || async {
        let spent = pair.load_ongoing_call(&pair.caller).await["coins_spent"].as_i64();
        (spent > first.body["total_coins_spent"].as_i64()).then_some(())
    })
    .await;
    assert_eq!(nudge(call_id).await.body, first.body);
    assert_problem(&nudge(call_id + 1).await, 422, "idempotency_key_reused");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn the_server_bills_minutes_and_a_client_cannot_bill_them_twice() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let bill = format!("/calls/bill-minute/{call_id}");
    wait_for("the second minute", || async {
        (pair.load_ongoing_call(&pair.caller).await["coins_spent"] == 20).then_some(())
    })
    .await;
    let nudges = (0..20).map(|_| pair.app.post(&bill).as_user(&pair.caller).answer());
    for nudge in join_all(nudges).await {
        assert_eq!(nudge.status, 200, "{nudge:?}");
        assert_fields(
            &nudge.body,
            &["coins_deducted", "remaining_coins", "message"],
        );
        assert_eq!(nudge.body["call_id"], call_id);
        assert!(
            nudge.body["total_coins_spent"].as_i64() <= Some(30),
            "{nudge:?}"
        );
    }
    let ended = pair.end_call(&pair.caller, call_id).await;
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    assert!((2..=3).contains(&minutes), "{ended:?}");
    assert_eq!(pair.load_coins().await, 300 - 10 * minutes);
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_call_ends_when_its_coins_run_out_and_is_paid_exactly() {
    let pair = CallPair::sign_up().await;
    // Four video minutes leave 60 coins, which suffice for one minute of the next call.
    let video = json!({"listener_id": pair.listener.user_id, "call_type": "video"});
    let started = start(&pair, video).await;
    assert_eq!(
        (started.status, &started.body["call_duration"]),
        (200, &json!(5)),
        "{started:?}"
    );
    wait_for("the call to run out of coins", || async {
        pair.load_ongoing_call(&pair.caller).await["call_id"]
            .is_null()
            .then_some(())
    })
    .await;
    assert_eq!(pair.load_coins().await, 0);
    wait_for("the listener to be paid", || async {
        (pair.load_earned().await == json!(30)).then_some(())
    })
    .await;
    wait_for("both free", || async {
        pair.are_both_free().await.then_some(())
    })
    .await;
    assert_books_are_right().await;
}

#[tokio::test]
async fn one_idempotency_key_starts_one_call() {
    let pair = CallPair::sign_up().await;
    let body = json!({"listener_id": pair.listener.user_id, "call_type": "audio"});
    let send = |body: Value| {
        pair.app
            .post("/calls/start")
            .as_user(&pair.caller)
            .header("idempotency-key", "call-1")
            .json(&body)
            .answer()
    };
    let first = send(body.clone()).await;
    assert_eq!(first.status, 200, "{first:?}");
    let again = send(body).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let video = json!({"listener_id": pair.listener.user_id, "call_type": "video"});
    assert_problem(&send(video).await, 422, "idempotency_key_reused");
    assert_eq!(pair.load_coins().await, 290);
    let call_id = first.body["call_id"].as_i64().expect("an id");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn a_refused_start_frees_its_idempotency_key() {
    let pair = CallPair::sign_up_without_coins().await;
    let body = json!({"listener_id": pair.listener.user_id, "call_type": "audio"});
    let send = || {
        pair.app
            .post("/calls/start")
            .as_user(&pair.caller)
            .header("idempotency-key", "call-1")
            .json(&body)
            .answer()
    };
    assert_problem(&send().await, 400, "insufficient_coins");
    let bought = json!({"amount_rupees": 150, "payment_method": "card"});
    pair.app
        .post("/calls/recharge")
        .as_user(&pair.caller)
        .json(&bought)
        .answer()
        .await;
    let started = send().await;
    assert_eq!(started.status, 200, "{started:?}");
    let call_id = started.body["call_id"].as_i64().expect("an id");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}
