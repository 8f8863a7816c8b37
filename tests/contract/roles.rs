//! Roles: only an operator makes admins, which is audited.

use serde_json::json;
use sqlx::PgPool;
use talktime_client::{AppUser, UserRole};
use talktime_tests::{ExpectAnswer, TestApp, connect_app, read_variable, run_dev, wait_for};

use crate::assert_problem;

async fn list_audited_actions(person: &AppUser) -> Vec<(String, Option<String>)> {
    let url = read_variable("AUTH_APP_DATABASE_URL");
    let auth = PgPool::connect_lazy(&url).expect("a valid url");
    sqlx::query_as(
        "SELECT action, detail FROM auth.audit_log
         WHERE user_id = $1 AND action LIKE 'role_%' ORDER BY audit_id",
    )
    .bind(person.user_id)
    .fetch_all(&auth)
    .await
    .expect("readable")
}

async fn load_roles(app: &TestApp, person: &AppUser) -> serde_json::Value {
    let me = app.get("/users/me").as_user(person).answer().await;
    me.body["roles"].clone()
}

#[tokio::test]
async fn granting_and_revoking_the_admin_role_is_audited() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let pending = || {
        let request = app.get("/admin/verification/pending");
        request.as_user(&person).answer()
    };
    assert_problem(&pending().await, 403, "admin_only");

    let command = ["run", "profile", "grant-admin", "--operator", "ravi"];
    run_dev(&[&command[..], &[&person.phone]].concat()).await;
    assert_eq!(pending().await.status, 200);
    assert_eq!(load_roles(&app, &person).await, json!(["admin", "user"]));

    let command = ["run", "profile", "revoke-admin", "--operator", "asha"];
    run_dev(&[&command[..], &[&person.phone]].concat()).await;
    assert_problem(&pending().await, 403, "admin_only");
    assert_eq!(load_roles(&app, &person).await, json!(["user"]));

    let audited = |action: &str, detail: &str| (action.to_owned(), Some(detail.to_owned()));
    let expected = [
        audited("role_granted", "admin by ravi"),
        audited("role_revoked", "admin by asha"),
    ];
    wait_for("both to be audited", || async {
        (list_audited_actions(&person).await == expected).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nobody_gives_themselves_a_role() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let body = json!({"roles": ["admin"], "role": "admin", "bio": "Hello"});
    let changed = app
        .put("/users/me")
        .as_user(&person)
        .json(&body)
        .answer()
        .await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(load_roles(&app, &person).await, json!(["user"]));
}
