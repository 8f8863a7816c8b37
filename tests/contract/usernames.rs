//! Whether a user name is free, before a registration.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, UserRole, random_username};
use talktime_tests::{ExpectAnswer, TestApp, connect_app};

use crate::assert_problem;

async fn check(app: &TestApp, username: &str) -> ApiAnswer {
    let path = format!("/auth/username-available?username={username}");
    app.get(&path).answer().await
}

#[tokio::test]
async fn a_free_name_is_available_without_a_token() {
    let app = connect_app().await;
    let free = check(&app, &random_username("free")).await;
    assert_eq!(free.status, 200, "{free:?}");
    assert_eq!(free.body, json!({"available": true, "suggestions": []}));
}

#[tokio::test]
async fn a_taken_name_has_three_suggestions_that_are_free() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for username in [person.username.clone(), person.username.to_uppercase()] {
        let taken = check(&app, &username).await;
        assert_eq!(taken.body["available"], false, "{taken:?}");
        let suggestions = taken.body["suggestions"].as_array().expect("suggestions");
        assert_eq!(suggestions.len(), 3, "{taken:?}");
        for suggestion in suggestions {
            let suggestion = suggestion.as_str().expect("a name");
            assert!(suggestion.starts_with(&username), "{suggestion}");
            assert_eq!(check(&app, suggestion).await.body["available"], true);
        }
    }
}

#[tokio::test]
async fn a_reserved_name_is_not_available_and_nobody_gets_it() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for username in ["admin", "Adm1n_Asha", "talktime_support", "0fficial"] {
        let checked = check(&app, username).await;
        let unavailable = json!({"available": false, "suggestions": []});
        assert_eq!((checked.status, &checked.body), (200, &unavailable));
        let update = app.put("/users/me").as_user(&person);
        let refused = update.json(&json!({"username": username})).answer().await;
        assert_problem(&refused, 409, "username_reserved");
    }
}

#[tokio::test]
async fn a_name_that_nobody_could_have_is_refused() {
    let app = connect_app().await;
    for username in ["ab", "two%20words", &"a".repeat(51)] {
        assert_problem(&check(&app, username).await, 400, "invalid_username");
    }
    let missing = app.get("/auth/username-available").answer().await;
    assert_eq!(missing.status, 400, "{missing:?}");
    assert_ne!(missing.body["code"], Value::Null);
}
