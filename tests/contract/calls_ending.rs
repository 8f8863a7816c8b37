//! Section 7: other ways in which calls end, and the prices of calls.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, assert_books_are_right, connect_app};

use crate::{assert_fields, assert_problem};

async fn end_with_key(pair: &CallPair, person: &AppUser, body: &Value) -> ApiAnswer {
    let request = pair.app.post("/calls/end").as_user(person);
    request
        .header("idempotency-key", "end-1")
        .json(body)
        .answer()
        .await
}

async fn emergency_end(app: &TestApp, person: &AppUser, call_id: i64) -> ApiAnswer {
    let path = format!("/calls/emergency-end/{call_id}");
    app.post(&path).as_user(person).answer().await
}

#[tokio::test]
async fn a_repeated_end_returns_the_same_receipt() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let body = json!({"call_id": call_id, "reason": "completed"});
    let first = end_with_key(&pair, &pair.caller, &body).await;
    assert_eq!(first.status, 200, "{first:?}");
    let bought = json!({"amount_rupees": 150, "payment_method": "upi"});
    let recharged = pair.app.post("/calls/recharge").as_user(&pair.caller);
    assert_eq!(recharged.json(&bought).answer().await.status, 200);

    let again = end_with_key(&pair, &pair.caller, &body).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let other = json!({"call_id": call_id, "reason": "dropped"});
    let reused = end_with_key(&pair, &pair.caller, &other).await;
    assert_problem(&reused, 422, "idempotency_key_reused");
    // The key belongs to the caller; the same key of the listener has ended nothing.
    let listeners = end_with_key(&pair, &pair.listener, &body).await;
    assert_problem(&listeners, 404, "call_not_found");
    let without_key = pair.end_call(&pair.caller, call_id).await;
    assert_problem(&without_key, 404, "call_not_found");
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_party_ends_a_call_in_an_emergency() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let stranger = pair.app.sign_up(UserRole::User).await;
    let refused = emergency_end(&pair.app, &stranger, call_id).await;
    assert_problem(&refused, 403, "not_a_party");

    let ended = emergency_end(&pair.app, &pair.listener, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_fields(&ended.body, &["duration_seconds", "message"]);
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(ended.body["call_id"], call_id);
    assert_eq!(ended.body["coins_spent"], 10 * minutes);
    assert_eq!(ended.body["listener_money_earned"], minutes);
    assert_eq!(ended.body["status"], "dropped");
    assert!(
        ended.body["remaining_coins"].is_null(),
        "not told to the listener"
    );
    let again = emergency_end(&pair.app, &pair.caller, call_id).await;
    assert_problem(&again, 404, "call_not_found");
    assert!(pair.load_ongoing_call(&pair.caller).await["call_id"].is_null());
    assert_books_are_right().await;
}

#[tokio::test]
async fn an_admin_ends_anybodys_call() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let admin = pair.app.sign_up_admin().await;
    let ended = emergency_end(&pair.app, &admin, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(ended.body["remaining_coins"], 300 - 10 * minutes);
    assert_eq!(pair.load_coins().await, 300 - 10 * minutes);
    assert_eq!(pair.load_earned().await, json!(minutes));
    let unknown = emergency_end(&pair.app, &admin, 999_999_999).await;
    assert_problem(&unknown, 404, "call_not_found");
}

#[tokio::test]
async fn only_admins_clean_up() {
    let app = connect_app().await;
    let user = app.sign_up(UserRole::User).await;
    let refused = app.post("/calls/cleanup").as_user(&user).answer().await;
    assert_problem(&refused, 403, "admin_only");
    let admin = app.sign_up_admin().await;
    let cleaned = app.post("/calls/cleanup").as_user(&admin).answer().await;
    assert_eq!(cleaned.status, 200, "{cleaned:?}");
    assert!(cleaned.body["message"].is_string());
    let count = |field: &str| cleaned.body[field].as_i64().expect("a count");
    assert_eq!(
        count("calls_cleaned"),
        count("calls_ended") + count("calls_settled") + count("calls_orphaned")
    );
}

#[tokio::test]
async fn prices_are_public() {
    let app = connect_app().await;
    let rates = app.get("/calls/rates").answer().await;
    assert_eq!(rates.status, 200, "{rates:?}");
    let expected = json!({
        "call_rates": {
            "audio": {"rate_per_minute": 10, "minimum_charge": 10},
            "video": {"rate_per_minute": 60, "minimum_charge": 60},
        },
        "recharge_options": {"150": 300, "300": 600, "500": 1000, "1000": 2000},
        "listener_earnings": {"audio": 1, "video": 6},
        "audio_rate_per_minute": 10,
        "video_rate_per_minute": 60,
    });
    assert_eq!(rates.body, expected);
}
