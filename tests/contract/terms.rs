//! The terms that users accept.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, ApiClient, AppUser, UserRole, random_phone, random_username};
use talktime_tests::replica::{start_auth, start_gateway, start_profile};
use talktime_tests::{ExpectAnswer, TestApp, connect_app};

use crate::assert_problem;

const REQUIRED: &str = "TALKTIME_PROFILE__REQUIRED_TERMS_VERSION";

async fn update(gateway: &ApiClient, person: &AppUser, body: &Value) -> ApiAnswer {
    gateway
        .put("/users/me")
        .as_user(person)
        .json(body)
        .answer()
        .await
}

/// Registers through a gateway, accepting this version of the terms.
async fn register(app: &TestApp, gateway: &ApiClient, terms_version: Value) -> ApiAnswer {
    let phone = random_phone();
    let requested = app.post("/auth/request_otp");
    let requested = requested.json(&json!({"phone": phone})).answer().await;
    assert_eq!(requested.status, 200, "{requested:?}");
    let body = json!({"phone": phone, "otp": app.read_otp(&phone).await});
    let verified = app.post("/auth/verify").json(&body).answer().await;
    let registration = json!({
        "registration_token": verified.body["registration_token"],
        "username": random_username("terms"),
        "sex": "other",
        "dob": "1999-12-31",
        "role": "user",
        "terms_version": terms_version,
    });
    let registered = gateway.post("/auth/register");
    registered.json(&registration).answer().await
}

#[tokio::test]
async fn accepted_terms_are_in_the_profile_with_their_time() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let before = app.get("/users/me").as_user(&person).answer().await;
    assert_eq!(before.body["terms_version"], Value::Null, "{before:?}");
    assert_eq!(before.body["terms_accepted_at"], Value::Null);
    let accepted = update(&app, &person, &json!({"terms_version": "2026-01"})).await;
    assert_eq!(accepted.body["terms_version"], "2026-01", "{accepted:?}");
    let accepted_at = &accepted.body["terms_accepted_at"];
    assert!(accepted_at.is_string());
    let again = update(&app, &person, &json!({"terms_version": "2026-01"})).await;
    assert_eq!(&again.body["terms_accepted_at"], accepted_at);
    let wrong = update(&app, &person, &json!({"terms_version": "two words"})).await;
    assert_problem(&wrong, 400, "invalid_terms_version");

    let registered = register(&app, &app, json!("2026-01")).await;
    assert_eq!(registered.status, 200, "{registered:?}");
    let token = registered.body["access_token"].as_str().expect("a token");
    let me = app.get("/users/me").bearer(token).answer().await;
    assert_eq!(me.body["terms_version"], "2026-01", "{me:?}");
}

#[tokio::test]
async fn an_operator_can_require_a_version_of_the_terms() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let profile = start_profile(&[(REQUIRED, "2026-02")]).await;
    let auth = start_auth(&[("TALKTIME_AUTH__PEERS__PROFILE", &profile.url)]).await;
    let gateway = start_gateway(&[
        ("TALKTIME_GATEWAY__PEERS__PROFILE", &profile.url),
        ("TALKTIME_GATEWAY__PEERS__AUTH", &auth.url),
    ])
    .await;
    let gateway = &gateway.app;
    for outdated in [json!("2026-01"), Value::Null] {
        let refused = register(&app, gateway, outdated).await;
        assert_problem(&refused, 403, "terms_outdated");
    }
    let registered = register(&app, gateway, json!("2026-02")).await;
    assert_eq!(registered.status, 200, "{registered:?}");

    let old = json!({"terms_version": "2026-01"});
    assert_problem(&update(gateway, &person, &old).await, 403, "terms_outdated");
    let other_field = update(gateway, &person, &json!({"bio": "Hello"})).await;
    assert_eq!(other_field.status, 200, "{other_field:?}");
    let current = update(gateway, &person, &json!({"terms_version": "2026-02"})).await;
    assert_eq!(current.body["terms_version"], "2026-02", "{current:?}");
}
