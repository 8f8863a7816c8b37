//! Section 3: the own profile.

use futures::future::join_all;
use serde_json::json;
use talktime_client::{UserRole, random_username};
use talktime_tests::{CallPair, ExpectAnswer, connect_app, wait_for};

use crate::{assert_fields, assert_problem};

#[tokio::test]
async fn a_profile_has_every_field_of_the_contract() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::Listener).await;
    let me = app.get("/users/me").as_user(&person).answer().await;
    assert_eq!(me.status, 200, "{me:?}");
    assert_fields(
        &me.body,
        &[
            "user_id",
            "phone",
            "username",
            "sex",
            "dob",
            "bio",
            "interests",
            "profile_image_url",
            "preferred_language",
            "rating",
            "country",
            "roles",
            "created_at",
            "updated_at",
        ],
    );
    assert_eq!(me.body["user_id"], person.user_id);
    assert_eq!(me.body["phone"], person.phone);
    assert!(
        me.body["roles"]
            .as_array()
            .expect("roles")
            .contains(&json!("listener"))
    );
    assert!(
        me.body["created_at"]
            .as_str()
            .expect("a time")
            .ends_with('Z')
    );
}

#[tokio::test]
async fn an_update_changes_only_the_given_fields() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let change = json!({"bio": "Good listener", "interests": ["music", "film"], "country": "IN"});
    let changed = app
        .put("/users/me")
        .as_user(&person)
        .json(&change)
        .answer()
        .await;
    assert_eq!(changed.status, 200, "{changed:?}");
    assert_eq!(changed.body["bio"], "Good listener");
    assert_eq!(changed.body["interests"], json!(["music", "film"]));
    assert_eq!(changed.body["username"], person.username);
    let me = app.get("/users/me").as_user(&person).answer().await;
    assert_eq!(me.body, changed.body);
}

#[tokio::test]
async fn nobody_rates_themselves() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::Listener).await;
    let answer = app
        .put("/users/me")
        .as_user(&person)
        .json(&json!({"rating": 5.0}))
        .answer()
        .await;
    assert_problem(&answer, 403, "rating_not_allowed");
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict() {
    let app = connect_app().await;
    let (first, second) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let body = json!({"username": first.username.to_uppercase()});
    let answer = app
        .put("/users/me")
        .as_user(&second)
        .json(&body)
        .answer()
        .await;
    assert_problem(&answer, 409, "username_taken");
}

#[tokio::test]
async fn a_deleted_user_and_their_tokens_are_gone() {
    let app = connect_app().await;
    // Everybody may see the status of a listener, so a 404 afterwards means that there is none.
    let person = app.sign_up(UserRole::Listener).await;
    let other = app.sign_up(UserRole::User).await;
    let presence = format!("/users/{}/presence", person.user_id);
    let shown = app.get(&presence).as_user(&other).answer().await;
    assert_eq!(shown.status, 200, "{shown:?}");
    let deleted = app.delete("/users/me").as_user(&person).answer().await;
    assert_eq!(deleted.status, 200, "{deleted:?}");
    assert_eq!(
        deleted.body,
        json!({"message": "User deleted successfully"})
    );
    wait_for("the token to be dead", || async {
        (app.get("/users/me/status")
            .as_user(&person)
            .answer()
            .await
            .status
            == 401)
            .then_some(())
    })
    .await;
    wait_for("the status to be gone", || async {
        let shown = app.get(&presence).as_user(&other).answer().await;
        (shown.status == 404).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deletion_may_have_a_reason() {
    let app = connect_app().await;
    for body in [
        json!({"reason": "No time"}),
        json!({"reason": null}),
        json!({}),
    ] {
        let person = app.sign_up(UserRole::User).await;
        let deleted = app.delete("/users/me").as_user(&person).json(&body);
        assert_eq!(deleted.answer().await.status, 200, "{body}");
    }
    let person = app.sign_up(UserRole::User).await;
    let body = json!({"reason": "x".repeat(501)});
    let refused = app
        .delete("/users/me")
        .as_user(&person)
        .json(&body)
        .answer();
    assert_problem(&refused.await, 400, "invalid_reason");
    let me = app.get("/users/me").as_user(&person).answer().await;
    assert_eq!(me.status, 200, "{me:?}");
    let in_query = app.delete("/users/me?reason=No+time").as_user(&person);
    assert_eq!(in_query.answer().await.status, 200);
}

#[tokio::test]
async fn a_deletion_during_a_call_is_refused() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let refused = pair
        .app
        .delete("/users/me")
        .as_user(&pair.listener)
        .answer()
        .await;
    assert_problem(&refused, 409, "on_a_call");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn every_field_rule_of_a_profile_holds() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let eleven: Vec<String> = (0..11).map(|n| format!("topic {n}")).collect();
    for (field, value, status, code) in [
        ("username", json!("ab"), 400, "invalid_username"),
        ("username", json!("x".repeat(51)), 400, "invalid_username"),
        ("username", json!("nul\0"), 400, "invalid_username"),
        ("bio", json!("x".repeat(501)), 400, "invalid_bio"),
        ("interests", json!(eleven), 400, "invalid_interests"),
        (
            "interests",
            json!(["x".repeat(51)]),
            400,
            "invalid_interests",
        ),
        (
            "profile_image_url",
            json!("ftp://example.com"),
            400,
            "invalid_profile_image_url",
        ),
        ("preferred_language", json!("x"), 400, "invalid_language"),
        ("country", json!(" "), 400, "invalid_country"),
        ("rating", json!(5.01), 400, "invalid_rating"),
        ("rating", json!(-1), 400, "invalid_rating"),
        ("rating", json!(4.999), 400, "invalid_rating"),
        ("rating", json!("4"), 422, "invalid_body"),
        ("interests", json!("music"), 422, "invalid_body"),
        ("bio", json!(7), 422, "invalid_body"),
    ] {
        let body = json!({field: value});
        let refused = app
            .put("/users/me")
            .as_user(&person)
            .json(&body)
            .answer()
            .await;
        assert_problem(&refused, status, code);
    }
    let me = app.get("/users/me").as_user(&person).answer().await;
    assert_eq!(me.body["username"], person.username);
    assert_eq!(
        me.body["updated_at"], me.body["created_at"],
        "nothing changed"
    );
}

#[tokio::test]
async fn one_of_twenty_concurrent_changes_to_one_name_succeeds() {
    let app = connect_app().await;
    let people = join_all((0..20).map(|_| app.sign_up(UserRole::User))).await;
    let body = json!({"username": random_username("name")});
    let answers = people.iter().map(|person| {
        let request = app.put("/users/me").as_user(person);
        request.json(&body).answer()
    });
    let answers = join_all(answers).await;
    let changed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(changed, 1, "{answers:?}");
    for refused in answers.iter().filter(|answer| answer.status != 200) {
        assert_problem(refused, 409, "username_taken");
    }
}
