//! Section 3: a deleted user leaves no row in any schema, and no valid token.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use talktime_client::{ApiClient, AppUser, UserRole};
use talktime_tests::replica::start_gateway;
use talktime_tests::{
    ExpectAnswer, SERVICES, TestApp, assert_books_are_right, connect_app, read_database_url,
    wait_for,
};

use crate::assert_problem;

/// Columns that keep bare ids on purpose: answers to idempotency keys; users whom auth, presence and verification must
/// not create again because of a late message; actions in the audit log; and users whose access tokens are revoked,
/// until the last of them has expired; and listeners who have left the feed, for an hour.
const TOMBSTONES: [&str; 9] = [
    "idempotency_keys",
    "revocations",
    "deleted_users",
    "listeners",
    "standings",
    "audit_log",
    "decisions",
    "feed_removals",
    "photo_decisions",
];

/// Condition on the only rows of a table that stay: orders that were paid, whose payment may go back.
const KEPT_ROWS: [(&str, &str); 1] = [("payment_orders", "transaction_id IS NOT NULL")];

/// Finds `table.column` of every row of a service that contains the id of the user and must go with the account.
async fn find_rows_of_user(service: &str, user_id: i64) -> Vec<String> {
    let url = read_database_url(service);
    let mut connection = PgConnection::connect(&url).await.expect("connected");
    let columns: Vec<(String, String)> = sqlx::query_as(
        "SELECT table_name::text, column_name::text FROM information_schema.columns
         WHERE table_schema = $1 AND data_type = 'bigint' AND table_name <> ALL ($2)
           AND column_name IN ('user_id', 'listener_id', 'blocker_id', 'blocked_id',
                               'favoriter_id', 'favoritee_id')",
    )
    .bind(service)
    .bind(TOMBSTONES)
    .fetch_all(&mut connection)
    .await
    .expect("the catalogue is readable");
    let mut found = Vec::new();
    for (table, column) in columns {
        let kept = KEPT_ROWS.iter().find(|(name, _)| *name == table);
        let is_kept = kept.map_or("false", |(_, condition)| *condition);
        let query = format!(
            "SELECT EXISTS (SELECT FROM {service}.{table} WHERE {column} = {user_id} AND NOT ({is_kept}))"
        );
        let exists: bool = sqlx::query_scalar(sqlx::AssertSqlSafe(query))
            .fetch_one(&mut connection)
            .await
            .expect("readable");
        if exists {
            found.push(format!("{service}.{table}.{column}"));
        }
    }
    found
}

#[tokio::test]
async fn a_deleted_user_leaves_no_row_in_any_schema() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let listener = app.sign_up(UserRole::Listener).await;
    let recharged = app.recharge(&person, 150).await.expect("answered");
    assert_eq!(recharged.status, 200, "{recharged:?}");
    let unpaid = app.post("/payments/orders").as_user(&person);
    let unpaid = unpaid.json(&json!({"amount_rupees": 300})).answer().await;
    assert_eq!(unpaid.body["status"], "created", "{unpaid:?}");
    let before = find_rows_of_user("wallet", person.user_id).await;
    let orders = "wallet.payment_orders.user_id".to_owned();
    assert!(before.contains(&orders), "{before:?}");
    let liked = app.post("/favorites/add").as_user(&person);
    let liked = liked.json(&json!({"listener_id": listener.user_id}));
    assert_eq!(liked.answer().await.status, 200);
    let blocked = app.post("/block").as_user(&listener);
    let blocked = blocked.json(&json!({"blocked_id": person.user_id}));
    assert_eq!(blocked.answer().await.status, 200);
    for service in ["profile", "presence", "wallet"] {
        let rows = find_rows_of_user(service, person.user_id).await;
        assert!(!rows.is_empty(), "{service} knows nobody");
    }

    let deleted = app.delete("/users/me").as_user(&person).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");

    for service in SERVICES {
        wait_for(&format!("{service} to forget"), || async {
            let left = find_rows_of_user(service, person.user_id).await;
            left.is_empty().then_some(())
        })
        .await;
    }
    assert_books_are_right().await;
}

async fn delete(app: &TestApp, person: &AppUser) {
    let deleted = app.delete("/users/me").as_user(person).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
}

async fn assert_refused(gateway: &ApiClient, access_token: &str, refresh_token: &str) {
    for path in ["/wallet/balance", "/users/me/status"] {
        let refused = gateway.get(path).bearer(access_token).answer().await;
        assert_problem(&refused, 401, "token_revoked");
    }
    let body = json!({"amount_rupees": 150, "payment_method": "upi"});
    let recharge = gateway.post("/calls/recharge").bearer(access_token);
    assert_problem(&recharge.json(&body).answer().await, 401, "token_revoked");
    let body = json!({"refresh_token": refresh_token});
    let refresh = gateway.post("/auth/refresh").json(&body).answer().await;
    assert_problem(&refresh, 401, "invalid_refresh_token");
}

#[tokio::test]
async fn every_token_is_refused_once_a_deletion_is_confirmed() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    for _ in 0..5 {
        let person = app.sign_up(UserRole::User).await;
        let elsewhere = app.log_in_at(&replica.app, &person).await;
        delete(&app, &person).await;
        for gateway in [&replica.app, &*app] {
            for tokens in [&person, &elsewhere] {
                assert_refused(gateway, &tokens.access_token, &tokens.refresh_token).await;
            }
        }
    }
}

/// Requests a code for the user and returns it.
async fn request_code(app: &TestApp, person: &AppUser) -> Value {
    let body = json!({"phone": person.phone});
    let sent = app.post("/auth/request_otp").json(&body).answer().await;
    assert_eq!(sent.status, 200, "{sent:?}");
    json!({"phone": person.phone, "otp": app.read_otp(&person.phone).await})
}

#[tokio::test]
async fn a_login_that_races_a_deletion_leaves_no_valid_token() {
    let app = connect_app().await;
    for _ in 0..10 {
        let person = app.sign_up(UserRole::User).await;
        let body = request_code(&app, &person).await;
        let login = app.post("/auth/verify").json(&body).answer();
        let (login, ()) = tokio::join!(login, delete(&app, &person));
        match login.body["status"].as_str() {
            Some("registered") => {
                let token = |name: &str| login.body[name].as_str().expect("a token");
                assert_refused(&app, token("access_token"), token("refresh_token")).await;
            }
            Some("needs_registration") => {}
            _ => assert_problem(&login, 503, "account_deletion_in_progress"),
        }
    }
}

/// The login finds the account ended in auth, and the phone unused once profile has deleted the user.
#[tokio::test]
async fn a_code_that_raced_a_deletion_registers_the_phone_again() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let body = request_code(&app, &person).await;
    delete(&app, &person).await;
    let verified = app.post("/auth/verify").json(&body).answer().await;
    assert_eq!(
        verified.body["status"], "needs_registration",
        "{verified:?}"
    );
}

/// Finds the account that has taken the place of a deleted one.
async fn find_successor(user_id: i64) -> Option<i64> {
    let mut connection = PgConnection::connect(&read_database_url("wallet")).await;
    let connection = connection.as_mut().expect("connected");
    let found: Option<Option<i64>> =
        sqlx::query_scalar("SELECT successor_id FROM wallet.closed_wallets WHERE owner_id = $1")
            .bind(user_id)
            .fetch_optional(connection)
            .await
            .expect("readable");
    found.flatten()
}

#[tokio::test]
async fn debts_of_a_deleted_account_find_the_next_one_of_the_same_phone() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let recharged = app.recharge(&person, 150).await.expect("answered");
    assert_eq!(recharged.status, 200, "{recharged:?}");
    delete(&app, &person).await;
    let other = app.sign_up(UserRole::User).await;
    let again = app.sign_up_with_phone(&person.phone).await;
    let successor = wait_for("the wallet to know the phone", || {
        find_successor(person.user_id)
    })
    .await;
    assert_eq!(successor, again.user_id);
    assert_ne!(successor, other.user_id);
    assert_books_are_right().await;
}
