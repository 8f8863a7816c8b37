//! Logins that fail with a 503 use up no code.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use talktime_client::{ApiAnswer, UserRole, random_phone};
use talktime_tests::{ExpectAnswer, TestApp, connect_app, read_variable, wait_for};

use crate::lock_stack;

/// Requests a code and returns the body for `/auth/verify`.
async fn request_code(app: &TestApp, phone: &str) -> Value {
    let body = json!({"phone": phone});
    let sent = app.post("/auth/request_otp").json(&body).answer().await;
    assert_eq!(sent.status, 200, "{sent:?}");
    json!({"phone": phone, "otp": app.read_otp(phone).await})
}

async fn verify_code(app: &TestApp, body: &Value) -> ApiAnswer {
    app.post("/auth/verify").json(body).answer().await
}

/// Locks the database so that no login can be recorded until the connection ends.
async fn lock_logins(tables: &str) -> PgConnection {
    let mut connection = PgConnection::connect(&read_variable("AUTH_OWNER_DATABASE_URL"))
        .await
        .expect("connected");
    let lock = format!("BEGIN; LOCK TABLE {tables} IN ACCESS EXCLUSIVE MODE");
    sqlx::raw_sql(sqlx::AssertSqlSafe(lock))
        .execute(&mut connection)
        .await
        .expect("locked");
    connection
}

#[tokio::test]
async fn a_code_works_again_after_a_login_that_was_answered_503() {
    let _stack = lock_stack().await;
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for (phone, status) in [
        (person.phone, "registered"),
        (random_phone(), "needs_registration"),
    ] {
        let body = request_code(&app, &phone).await;
        let locked = lock_logins("auth.audit_log, auth.outbox, auth.used_codes").await;
        let refused = verify_code(&app, &body).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        locked.close().await.expect("unlocked");
        let verified = wait_for("the same code to log in", || async {
            let answer = verify_code(&app, &body).await;
            (answer.status != 503).then_some(answer)
        })
        .await;
        assert_eq!(verified.status, 200, "{verified:?}");
        assert_eq!(verified.body["status"], status);
        let again = verify_code(&app, &body).await;
        assert_eq!(again.code(), "invalid_otp", "a code works once: {again:?}");
    }
}
