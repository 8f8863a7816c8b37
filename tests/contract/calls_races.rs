//! Section 7: concurrent requests of which one succeeds.

use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::PgPool;
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{
    CallPair, ExpectAnswer, TestApp, assert_books_are_right, connect_app, read_variable, wait_for,
};

const AT_ONCE: usize = 20;

async fn start(app: &TestApp, caller: &AppUser, listener: &AppUser) -> ApiAnswer {
    let body = json!({"listener_id": listener.user_id, "call_type": "audio"});
    app.post("/calls/start")
        .as_user(caller)
        .json(&body)
        .answer()
        .await
}

async fn recharge(app: &TestApp, person: &AppUser) {
    let body = json!({"amount_rupees": 150, "payment_method": "upi"});
    wait_for("a recharge", || async {
        let request = app.post("/calls/recharge").as_user(person);
        let answer = request
            .header("idempotency-key", "race")
            .json(&body)
            .answer()
            .await;
        (answer.status == 200).then_some(())
    })
    .await;
}

fn call_ids(answers: &[ApiAnswer]) -> Vec<i64> {
    let started = answers.iter().filter(|answer| answer.status == 200);
    started
        .filter_map(|answer| answer.body["call_id"].as_i64())
        .collect()
}

/// Asserts that every other request got a 409 or a 503 and cost nothing.
#[track_caller]
fn assert_refused_without_cost(answers: &[ApiAnswer]) {
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        let code = answer.body["code"].as_str();
        assert!(
            (answer.status, code) == (409, Some("on_a_call")) || answer.status == 503,
            "{answer:?}"
        );
    }
}

#[tokio::test]
async fn one_of_twenty_concurrent_starts_of_one_caller_succeeds() {
    let pair = CallPair::sign_up().await;
    let mut listeners = Vec::new();
    for _ in 0..AT_ONCE {
        listeners.push(pair.app.sign_up(UserRole::Listener).await);
    }
    let calls = listeners
        .iter()
        .map(|listener| start(&pair.app, &pair.caller, listener));
    let answers = join_all(calls).await;
    assert_refused_without_cost(&answers);
    let started = call_ids(&answers);
    assert_eq!(started.len(), 1, "{answers:?}");
    assert_eq!(pair.load_coins().await, 290);
    let ended = pair.end_call(&pair.caller, started[0]).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_books_are_right().await;
}

/// Starts a call with the key `start-1`, which different users may use.
async fn start_with_key(app: &TestApp, caller: &AppUser, listener: &AppUser) -> ApiAnswer {
    let body = json!({"listener_id": listener.user_id, "call_type": "audio"});
    let request = app.post("/calls/start").as_user(caller);
    request
        .header("idempotency-key", "start-1")
        .json(&body)
        .answer()
        .await
}

#[tokio::test]
async fn concurrent_starts_with_keys_each_keep_their_own_answer() {
    let on_a_call = CallPair::sign_up().await;
    let call_id = on_a_call.start_call().await;
    let late = CallPair::sign_up().await;
    let pairs = join_all((0..AT_ONCE / 2).map(|_| CallPair::sign_up())).await;
    let app = &on_a_call.app;
    let start_all = || async {
        let starts = pairs
            .iter()
            .map(|pair| start_with_key(app, &pair.caller, &pair.listener));
        let refused = start_with_key(app, &late.caller, &on_a_call.listener);
        tokio::join!(join_all(starts), refused)
    };
    let (first, refused) = start_all().await;
    assert_eq!(refused.body["code"], "on_a_call", "{refused:?}");
    let mut started = call_ids(&first);
    assert_eq!(started.len(), pairs.len(), "{first:?}");
    let (again, _) = start_all().await;
    assert_eq!(call_ids(&again), started, "a replay is the same call");
    started.sort_unstable();
    started.dedup();
    assert_eq!(started.len(), pairs.len(), "nobody has another's call");

    on_a_call.end_call(&on_a_call.caller, call_id).await;
    let late_call_id = wait_for("the refused start's key to be of use again", || async {
        let started = start_with_key(app, &late.caller, &on_a_call.listener).await;
        started.body["call_id"].as_i64()
    })
    .await;
    let ends = pairs.iter().zip(call_ids(&first));
    let ends = ends.chain([(&late, late_call_id)]);
    let ended = join_all(ends.map(|(pair, call_id)| pair.end_call(&pair.caller, call_id))).await;
    assert!(ended.iter().all(|ended| ended.status == 200), "{ended:?}");
    assert_books_are_right().await;
}

#[tokio::test]
async fn two_users_who_call_each_other_at_once_get_one_call() {
    let app = connect_app().await;
    let (asha, devi) = (
        app.sign_up(UserRole::Listener).await,
        app.sign_up(UserRole::Listener).await,
    );
    recharge(&app, &asha).await;
    recharge(&app, &devi).await;
    let calls = (0..AT_ONCE).map(|n| {
        let (from, to) = if n % 2 == 0 {
            (&asha, &devi)
        } else {
            (&devi, &asha)
        };
        start(&app, from, to)
    });
    let answers = join_all(calls).await;
    assert_refused_without_cost(&answers);
    let started = call_ids(&answers);
    assert_eq!(started.len(), 1, "{answers:?}");
    let end = app.post("/calls/end").as_user(&asha);
    let ended = end.json(&json!({"call_id": started[0]})).answer().await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    let mut coins = 0;
    for person in [&asha, &devi] {
        let balance = app.get("/wallet/balance").as_user(person).answer().await;
        coins += balance.body["balance_coins"].as_i64().expect("coins");
    }
    assert_eq!(coins, 600 - 10 * minutes);
    assert_books_are_right().await;
}

#[tokio::test]
async fn concurrent_ends_and_bill_minute_requests_settle_once() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    // The next minute is about to begin, so billing and hang-ups race.
    wait_for("the second minute", || async {
        (pair.load_ongoing_call(&pair.caller).await["coins_spent"] == 20).then_some(())
    })
    .await;
    let (bill, emergency) = (
        format!("/calls/bill-minute/{call_id}"),
        format!("/calls/emergency-end/{call_id}"),
    );
    let (pair, bill, emergency) = (&pair, bill.as_str(), emergency.as_str());
    let requests = (0..AT_ONCE).map(|n| async move {
        let person = if n % 2 == 0 {
            &pair.caller
        } else {
            &pair.listener
        };
        match n % 4 {
            0 | 1 => pair.app.post(bill).as_user(person).answer().await,
            2 => pair.app.post(emergency).as_user(person).answer().await,
            _ => pair.end_call(person, call_id).await,
        }
    });
    for answer in join_all(requests).await {
        assert!([200, 404].contains(&answer.status), "{answer:?}");
    }
    let receipt = wait_for("the receipt", || async {
        let receipt = pair
            .app
            .get(&format!("/calls/{call_id}"))
            .as_user(&pair.caller)
            .answer()
            .await;
        let is_closed = receipt.body["listener_money_earned"] != 0;
        is_closed.then_some(receipt.body)
    })
    .await;
    let minutes = receipt["duration_minutes"].as_i64().expect("minutes");
    assert_eq!(receipt["coins_spent"], 10 * minutes);
    assert_eq!(
        receipt["minutes"].as_array().map(Vec::len),
        usize::try_from(minutes).ok()
    );
    assert_eq!(pair.load_coins().await, 300 - 10 * minutes);
    assert_eq!(pair.load_earned().await, Value::from(minutes));
    assert!(pair.load_ongoing_call(&pair.listener).await["call_id"].is_null());
    assert_books_are_right().await;
}

async fn connect_as(role: &str) -> PgPool {
    let url = read_variable(&format!("{role}_APP_DATABASE_URL"));
    PgPool::connect(&url).await.expect("connected")
}

/// Deletes the row of a start that waits for the charge of its first minute.
async fn delete_row_of_start(caller_id: i64) {
    let calls = connect_as("CALLS").await;
    wait_for("the start to be reserved", || async {
        let lost = sqlx::query("DELETE FROM calls.user_calls WHERE user_id = $1")
            .bind(caller_id)
            .execute(&calls);
        (lost.await.expect("answered").rows_affected() == 1).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_start_whose_row_is_lost_returns_its_first_minute() {
    let pair = CallPair::sign_up().await;
    let caller_id = pair.caller.user_id;
    // While the charge waits for the row of the wallet, the row of the call is deleted.
    let wallet = connect_as("WALLET").await;
    let mut held = wallet.begin().await.expect("begun");
    sqlx::query("SELECT FROM wallet.user_wallets WHERE user_id = $1 FOR UPDATE")
        .bind(caller_id)
        .execute(&mut *held)
        .await
        .expect("locked");
    let lose = async {
        delete_row_of_start(caller_id).await;
        held.rollback().await.expect("released");
    };
    let (refused, ()) = tokio::join!(pair.request_call(), lose);
    assert_eq!(refused.status, 503, "{refused:?}");
    wait_for("the first minute to be returned", || async {
        (pair.load_coins().await == 300).then_some(())
    })
    .await;
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    assert_books_are_right().await;
}
