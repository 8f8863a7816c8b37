//! Section 3: a deleted user leaves no row behind, in any service's schema.

use serde_json::json;
use sqlx::{Connection, PgConnection};
use talktime_client::Role;
use talktime_tests::{Answered, app, assert_books_are_right, variable, wait_for};

const SERVICES: [&str; 6] = [
    "auth",
    "profile",
    "presence",
    "wallet",
    "calls",
    "verification",
];

/// Bare ids, kept on purpose: answers to idempotency keys, whom presence and verification must not
/// bring back when something older comes late, what was done in somebody's name, and whose access
/// tokens are dead (until the last of them has expired, or a flushed Redis would let them in again).
const TOMBSTONES: [&str; 6] = [
    "idempotency_keys",
    "revocations",
    "deleted_users",
    "standings",
    "audit_log",
    "decisions",
];

/// `table.column` of every row of a service that names the user.
async fn rows_naming(service: &str, user_id: i64) -> Vec<String> {
    let url = variable(&format!("{}_APP_DATABASE_URL", service.to_uppercase()));
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
        let query =
            format!("SELECT EXISTS (SELECT FROM {service}.{table} WHERE {column} = {user_id})");
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
    let app = app().await;
    let person = app.sign_up(Role::User).await;
    let listener = app.sign_up(Role::Listener).await;
    let recharged = app.recharge(&person, 150).await.expect("answered");
    assert_eq!(recharged.status, 200, "{recharged:?}");
    let liked = app.post("/favorites/add").of(&person);
    let liked = liked.json(&json!({"listener_id": listener.user_id}));
    assert_eq!(liked.answer().await.status, 200);
    let blocked = app.post("/block").of(&listener);
    let blocked = blocked.json(&json!({"blocked_id": person.user_id}));
    assert_eq!(blocked.answer().await.status, 200);
    for service in ["profile", "presence", "wallet"] {
        let rows = rows_naming(service, person.user_id).await;
        assert!(!rows.is_empty(), "{service} knows nobody");
    }

    let deleted = app.delete("/users/me").of(&person).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");

    for service in SERVICES {
        wait_for(&format!("{service} to forget"), || async {
            let left = rows_naming(service, person.user_id).await;
            left.is_empty().then_some(())
        })
        .await;
    }
    assert_books_are_right().await;
}
