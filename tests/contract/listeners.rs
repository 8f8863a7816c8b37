//! The page of one listener.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, wait_for};

use crate::{assert_fields, assert_problem};

const UNKNOWN_USER: i64 = 9_007_199_254_740_991;

async fn read_page(app: &TestApp, viewer: &AppUser, listener_id: i64) -> ApiAnswer {
    let path = format!("/listeners/{listener_id}");
    app.get(&path).as_user(viewer).answer().await
}

/// Waits until the page of the pair's listener satisfies a condition, and returns it.
async fn wait_for_page(pair: &CallPair, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    wait_for(what, || async {
        let page = read_page(&pair.app, &pair.caller, pair.listener.user_id).await;
        assert_eq!(page.status, 200, "{page:?}");
        Some(page.body).filter(|page| fits(page))
    })
    .await
}

#[tokio::test]
async fn the_page_of_a_listener_has_the_fields_of_the_feed_and_more() {
    let pair = CallPair::sign_up().await;
    let page = wait_for_page(&pair, "the listener to be online", |page| {
        page["is_available"] == true
    })
    .await;
    let feed = pair.app.get("/feed/listeners").as_user(&pair.caller);
    let feed = feed.answer().await;
    let in_feed = feed.body["listeners"][0].as_object().expect("a listener");
    let names: Vec<&str> = in_feed.keys().map(String::as_str).collect();
    assert_fields(&page, &names);
    assert_eq!(page["user_id"], pair.listener.user_id);
    assert_eq!(page["username"], pair.listener.username.as_str());
    for (name, expected) in [
        ("rating_count", json!(0)),
        ("rating_histogram", json!([0, 0, 0, 0, 0])),
        ("badge", json!("basic")),
        ("answer_rate", Value::Null),
        ("rates", json!({"audio": 10, "video": 60})),
        (
            "preferences",
            json!({"audio_enabled": true, "video_enabled": true}),
        ),
        ("is_favorited", json!(false)),
        ("can_call", json!({"ok": true, "code": null})),
    ] {
        assert_eq!(page[name], expected, "{name}");
    }
}

#[tokio::test]
async fn favourites_and_ratings_are_on_the_page() {
    let pair = CallPair::sign_up().await;
    let added = pair.app.post("/favorites/add").as_user(&pair.caller);
    let added = added.json(&json!({"listener_id": pair.listener.user_id}));
    assert_eq!(added.answer().await.status, 200);
    for stars in [4, 2, 4] {
        let call_id = pair.start_call().await;
        assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
        let rating = pair.app.post(&format!("/calls/{call_id}/rating"));
        let rated = rating.as_user(&pair.caller).json(&json!({"stars": stars}));
        assert_eq!(rated.answer().await.status, 200);
    }
    let page = wait_for_page(&pair, "the mean of the ratings", |page| {
        page["rating"] == 3.33
    })
    .await;
    assert_eq!(page["rating_count"], 3);
    assert_eq!(page["rating_histogram"], json!([0, 1, 0, 2, 0]));
    assert_eq!(page["is_favorited"], true);
}

#[tokio::test]
async fn the_page_predicts_the_refusal_of_a_call() {
    let pair = CallPair::sign_up_without_coins().await;
    let refused_for = async |viewer: &AppUser, code: &str| {
        wait_for(code, || async {
            let page = read_page(&pair.app, viewer, pair.listener.user_id).await;
            assert_eq!(page.status, 200, "{page:?}");
            (page.body["can_call"] == json!({"ok": false, "code": code})).then_some(())
        })
        .await;
    };
    refused_for(&pair.caller, "insufficient_coins").await;
    assert_eq!(pair.request_call().await.code(), "insufficient_coins");
    refused_for(&pair.listener, "cannot_call_oneself").await;

    let offline = pair.app.put("/users/me/status").as_user(&pair.listener);
    let offline = offline.json(&json!({"is_online": false})).answer().await;
    assert_eq!(offline.status, 200, "{offline:?}");
    refused_for(&pair.caller, "listener_offline").await;
    assert_eq!(pair.request_call().await.code(), "listener_offline");
}

#[tokio::test]
async fn a_listener_on_a_call_cannot_be_called() {
    let pair = CallPair::sign_up().await;
    let other = pair.app.sign_up(UserRole::User).await;
    let call_id = pair.start_call().await;
    for viewer in [&pair.caller, &other] {
        let page = read_page(&pair.app, viewer, pair.listener.user_id).await;
        let expected = json!({"ok": false, "code": "on_a_call"});
        assert_eq!(page.body["can_call"], expected, "{page:?}");
    }
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    wait_for_page(&pair, "the listener to be free", |page| {
        page["can_call"]["ok"] == true
    })
    .await;
}

#[tokio::test]
async fn neither_a_stranger_nor_a_blocked_user_finds_a_page() {
    let app = connect_app().await;
    let user = app.sign_up(UserRole::User).await;
    for user_id in [user.user_id, UNKNOWN_USER, 0, -1] {
        let page = read_page(&app, &user, user_id).await;
        assert_problem(&page, 404, "listener_not_found");
    }
    for is_blocked_by_listener in [true, false] {
        let listener = app.sign_up(UserRole::Listener).await;
        assert_eq!(read_page(&app, &user, listener.user_id).await.status, 200);
        let (blocker, blocked) = if is_blocked_by_listener {
            (&listener, &user)
        } else {
            (&user, &listener)
        };
        let block = app.post("/block").as_user(blocker);
        let block = block.json(&json!({"blocked_id": blocked.user_id}));
        assert_eq!(block.answer().await.status, 200);
        let page = read_page(&app, &user, listener.user_id).await;
        assert_problem(&page, 404, "listener_not_found");
    }
}
