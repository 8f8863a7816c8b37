//! Section 6: bank details, withdrawals, and decisions of admins.

use futures::future::join_all;
use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser};
use talktime_tests::{CallPair, ExpectAnswer, WAIT_MAX, assert_books_are_right, run_dev, wait_for};

use crate::sockets::{assert_quiet, open};
use crate::{assert_fields, assert_problem};

fn account() -> Value {
    json!({
        "account_holder_name": "Devi Rao", "account_number": "123456789012",
        "ifsc_code": "HDFC0ABC123", "bank_name": "HDFC"
    })
}

async fn put_details(pair: &CallPair, body: &Value) -> ApiAnswer {
    let request = pair.app.put("/wallet/bank-details").as_user(&pair.listener);
    request.json(body).answer().await
}

async fn withdraw(pair: &CallPair, amount: Value, key: Option<&str>) -> ApiAnswer {
    let mut request = pair.app.post("/wallet/withdraw").as_user(&pair.listener);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    request.json(&json!({"amount": amount})).answer().await
}

async fn get(pair: &CallPair, person: &AppUser, path: &str) -> ApiAnswer {
    pair.app.get(path).as_user(person).answer().await
}

async fn decide(
    pair: &CallPair,
    admin: &AppUser,
    withdrawal_id: &Value,
    status: &str,
) -> ApiAnswer {
    let path = format!("/admin/withdrawals/{withdrawal_id}/decide");
    let request = pair.app.post(&path).as_user(admin);
    request
        .json(&json!({"status": status, "notes": "looked at"}))
        .answer()
        .await
}

/// Returns a pair whose listener has earned at least a rupee and has bank details.
async fn sign_up_with_earnings() -> CallPair {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    wait_for("the settlement", || async {
        (pair.load_earned().await.as_i64() >= Some(1)).then_some(())
    })
    .await;
    let kept = put_details(&pair, &account()).await;
    assert_eq!(kept.status, 200, "{kept:?}");
    pair
}

/// Makes the caller of a pair an admin.
async fn make_admin(pair: &CallPair) -> &AppUser {
    run_dev(&["grant-admin", &pair.caller.phone]).await;
    &pair.caller
}

#[tokio::test]
async fn bank_details_are_kept_and_come_back_masked() {
    let pair = CallPair::sign_up_without_coins().await;
    let path = "/wallet/bank-details";
    let none = get(&pair, &pair.listener, path).await;
    assert_eq!(
        (none.status, &none.body["has_bank_details"]),
        (200, &json!(false))
    );
    for body in [json!({"payout_account": account()}), account()] {
        let kept = put_details(&pair, &body).await;
        assert_eq!(
            (kept.status, &kept.body["has_bank_details"]),
            (200, &json!(true))
        );
        assert_fields(&kept.body, &["message"]);
        let found = get(&pair, &pair.listener, path).await;
        assert_fields(&found.body, &["message"]);
        assert_eq!(found.body["account_holder_name"], "Devi Rao");
        assert_eq!(found.body["ifsc_code"], "HDFC0ABC123");
        assert_eq!(found.body["account_number"], "XXXXXXXX9012");
    }
}

#[tokio::test]
async fn invalid_bank_details_are_refused() {
    let pair = CallPair::sign_up_without_coins().await;
    for (field, value) in [
        ("account_number", "12345678"),
        ("account_number", "12345678a"),
        ("account_number", "1234567890123456789"),
        ("ifsc_code", "HDFC1ABC123"),
        ("ifsc_code", "HDFC"),
        ("account_holder_name", " "),
    ] {
        let mut body = account();
        body[field] = json!(value);
        assert_problem(
            &put_details(&pair, &body).await,
            400,
            "invalid_bank_details",
        );
    }
    let mut body = account();
    body.as_object_mut().expect("an object").remove("ifsc_code");
    let missing = put_details(&pair, &body).await;
    assert_problem(&missing, 422, "invalid_body");
    assert_eq!(missing.body["errors"][0]["field"], "ifsc_code");
    let nested = put_details(&pair, &json!({"payout_account": body})).await;
    assert_problem(&nested, 422, "invalid_body");
    body["ifsc_code"] = json!(7);
    assert_problem(&put_details(&pair, &body).await, 422, "invalid_body");
}

#[tokio::test]
async fn a_withdrawal_leaves_the_balance_at_once_and_is_paid() {
    let pair = sign_up_with_earnings().await;
    let before = pair.load_earned().await.as_f64().expect("rupees");
    let withdrawal = withdraw(&pair, json!(0.75), None).await;
    assert_eq!(withdrawal.status, 200, "{withdrawal:?}");
    assert_fields(
        &withdrawal.body,
        &["transaction_id", "message", "created_at"],
    );
    assert_eq!(withdrawal.body["amount"], 0.75);
    assert_eq!(withdrawal.body["status"], "pending");
    let balance = pair.load_balance(&pair.listener).await;
    assert_eq!(balance["pending_withdrawals"], 0.75);
    assert_eq!(balance["withdrawable_money"].as_f64(), Some(before - 0.75));

    let id = &withdrawal.body["withdrawal_id"];
    let listed = get(&pair, &pair.listener, "/wallet/withdrawals").await.body;
    assert_fields(&listed, &["page", "per_page", "has_next", "has_previous"]);
    assert_eq!(
        (&listed["pending_amount"], &listed["total_withdrawn"]),
        (&json!(0.75), &json!(0))
    );
    let only = &listed["withdrawals"][0];
    assert_eq!(only["withdrawal_id"], *id);
    assert_eq!(only["transaction_id"], withdrawal.body["transaction_id"]);
    assert_eq!(only["processed_at"], Value::Null);

    let admin = make_admin(&pair).await;
    let processing = decide(&pair, admin, id, "processing").await;
    assert_eq!(
        (processing.status, &processing.body["status"]),
        (200, &json!("processing"))
    );
    assert_eq!(processing.body["account_number"], "XXXXXXXX9012");
    let paid = decide(&pair, admin, id, "paid").await;
    assert_eq!((paid.status, &paid.body["status"]), (200, &json!("paid")));
    assert_problem(
        &decide(&pair, admin, id, "rejected").await,
        409,
        "withdrawal_decided",
    );
    let listed = get(&pair, &pair.listener, "/wallet/withdrawals").await.body;
    assert!(
        listed["withdrawals"][0]["processed_at"].is_string(),
        "{listed}"
    );
    assert_eq!(
        (&listed["pending_amount"], &listed["total_withdrawn"]),
        (&json!(0), &json!(0.75))
    );
    assert_books_are_right().await;
}

#[tokio::test]
async fn the_owner_of_a_withdrawal_is_notified_on_their_sockets() {
    let pair = sign_up_with_earnings().await;
    let admin = make_admin(&pair).await;
    let (mut own, _) = open(&pair.app, "/ws/notifications", &pair.listener).await;
    let (mut others, _) = open(&pair.app, "/ws/notifications", admin).await;
    let withdrawal = withdraw(&pair, json!(0.75), None).await;
    assert_eq!(withdrawal.status, 200, "{withdrawal:?}");
    let id = &withdrawal.body["withdrawal_id"];
    for status in ["pending", "processing", "paid"] {
        if status != "pending" {
            assert_eq!(decide(&pair, admin, id, status).await.status, 200);
        }
        let update = own.receive_type("withdrawal_updated", WAIT_MAX).await;
        assert_eq!(
            update.expect("a message")["data"],
            json!({
                "user_id": pair.listener.user_id,
                "withdrawal_id": id,
                "amount": 0.75,
                "status": status,
            })
        );
    }
    assert_quiet(&mut others).await;
}

#[tokio::test]
async fn one_of_twenty_concurrent_withdrawals_of_everything_succeeds() {
    let pair = sign_up_with_earnings().await;
    let everything = pair.load_earned().await;
    let withdrawals = join_all((0..20).map(|_| withdraw(&pair, everything.clone(), None))).await;
    let won = withdrawals
        .iter()
        .filter(|answer| answer.status == 200)
        .count();
    assert_eq!(won, 1, "{withdrawals:?}");
    for lost in withdrawals.iter().filter(|answer| answer.status != 200) {
        assert_problem(lost, 400, "insufficient_money");
    }
    assert_eq!(pair.load_earned().await, 0);
    assert_books_are_right().await;
}

#[tokio::test]
async fn one_idempotency_key_creates_one_withdrawal() {
    let pair = sign_up_with_earnings().await;
    let first = withdraw(&pair, json!(0.5), Some("key")).await;
    let again = withdraw(&pair, json!(0.5), Some("key")).await;
    assert_eq!((again.status, &again.body), (200, &first.body));
    let other = withdraw(&pair, json!(0.6), Some("key")).await;
    assert_problem(&other, 422, "idempotency_key_reused");
    let listed = get(&pair, &pair.listener, "/wallet/withdrawals").await.body;
    assert_eq!(listed["total"], 1);
}

#[tokio::test]
async fn a_rejected_withdrawal_returns_the_money() {
    let pair = sign_up_with_earnings().await;
    let before = pair.load_earned().await;
    let withdrawal = withdraw(&pair, json!(1), None).await;
    let admin = make_admin(&pair).await;
    let rejected = decide(&pair, admin, &withdrawal.body["withdrawal_id"], "rejected").await;
    assert_eq!(
        (rejected.status, &rejected.body["status"]),
        (200, &json!("rejected"))
    );
    assert_eq!(pair.load_earned().await, before);
    let lines = get(
        &pair,
        &pair.listener,
        "/transactions/listener?tx_type=withdraw",
    )
    .await;
    let changes: Vec<&Value> = lines.body["transactions"]
        .as_array()
        .expect("lines")
        .iter()
        .map(|line| &line["money_change"])
        .collect();
    assert_eq!(changes, [&json!(1), &json!(-1)]);
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_deletion_during_a_payout_is_refused() {
    let pair = sign_up_with_earnings().await;
    let withdrawal = withdraw(&pair, json!(1), None).await;
    let id = &withdrawal.body["withdrawal_id"];
    let delete = async || {
        pair.app
            .delete("/users/me")
            .as_user(&pair.listener)
            .answer()
            .await
    };
    assert_problem(&delete().await, 409, "payout_in_progress");
    let admin = make_admin(&pair).await;
    let processing = decide(&pair, admin, id, "processing").await;
    assert_eq!(processing.status, 200, "{processing:?}");
    assert_problem(&delete().await, 409, "payout_in_progress");
    let paid = decide(&pair, admin, id, "paid").await;
    assert_eq!((paid.status, &paid.body["status"]), (200, &json!("paid")));
    let deleted = delete().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_withdrawal_that_races_the_deletion_is_not_lost() {
    for _ in 0..5 {
        let pair = sign_up_with_earnings().await;
        let delete = pair
            .app
            .delete("/users/me")
            .as_user(&pair.listener)
            .answer();
        let (withdrawal, deleted) = tokio::join!(withdraw(&pair, json!(1), None), delete);
        assert!([200, 409].contains(&deleted.status), "{deleted:?}");
        if withdrawal.status == 200 {
            // In either order the sum can still be paid.
            let admin = make_admin(&pair).await;
            let paid = decide(&pair, admin, &withdrawal.body["withdrawal_id"], "paid").await;
            assert_eq!((paid.status, &paid.body["status"]), (200, &json!("paid")));
        }
        assert_books_are_right().await;
    }
}

#[tokio::test]
async fn invalid_sums_cannot_be_withdrawn() {
    let pair = sign_up_with_earnings().await;
    for amount in [json!(0), json!(-1), json!(0.001), json!(1e300), json!(1e12)] {
        let refused = withdraw(&pair, amount.clone(), None).await;
        assert_eq!(refused.status, 400, "{amount}: {refused:?}");
    }
    assert_problem(
        &withdraw(&pair, json!(1_000), None).await,
        400,
        "insufficient_money",
    );
    assert_problem(
        &withdraw(&pair, json!("1"), None).await,
        422,
        "invalid_body",
    );
    let pair = CallPair::sign_up_without_coins().await;
    assert_problem(
        &withdraw(&pair, json!(1), None).await,
        400,
        "insufficient_money",
    );
    let request = pair.app.post("/wallet/withdraw").as_user(&pair.caller);
    let by_caller = request.json(&json!({"amount": 1})).answer().await;
    assert_problem(&by_caller, 403, "listener_only");
}

#[tokio::test]
async fn only_admins_decide() {
    let pair = sign_up_with_earnings().await;
    let withdrawal = withdraw(&pair, json!(1), None).await;
    let id = &withdrawal.body["withdrawal_id"];
    for person in [&pair.caller, &pair.listener] {
        assert_problem(&decide(&pair, person, id, "paid").await, 403, "admin_only");
        let listed = get(&pair, person, "/admin/withdrawals").await;
        assert_problem(&listed, 403, "admin_only");
    }
    run_dev(&["grant-admin", &pair.listener.phone]).await;
    let own = decide(&pair, &pair.listener, id, "paid").await;
    assert_problem(&own, 403, "own_withdrawal");
    let admin = make_admin(&pair).await;
    assert_problem(
        &decide(&pair, admin, &json!(999_999_999), "paid").await,
        404,
        "no_such_withdrawal",
    );
    for status in ["pending", "gone"] {
        assert_problem(
            &decide(&pair, admin, id, status).await,
            400,
            "invalid_status",
        );
    }
    let unknown = get(&pair, admin, "/admin/withdrawals?status=gone").await;
    assert_problem(&unknown, 400, "invalid_status");
    let waiting = get(&pair, admin, "/admin/withdrawals?per_page=100").await;
    assert_eq!(waiting.status, 200, "{waiting:?}");
    assert_fields(&waiting.body, &["withdrawals", "total", "page", "has_next"]);
}
