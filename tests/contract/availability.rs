//! Listeners who are online and take no calls, or only those of one type.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, WAIT_MAX, connect_app, wait_for};

use crate::assert_problem;

async fn set_status(app: &TestApp, person: &AppUser, status: Value) -> ApiAnswer {
    let put = app.put("/users/me/status").as_user(person).json(&status);
    let changed = put.answer().await;
    assert_eq!(changed.status, 200, "{changed:?}");
    changed
}

async fn set_preferences(app: &TestApp, listener: &AppUser, preferences: Value) -> ApiAnswer {
    let put = app.put("/listeners/me/preferences").as_user(listener);
    put.json(&preferences).answer().await
}

/// Finds the listener in the caller's feed.
async fn find_in_feed(pair: &CallPair, query: &str) -> Option<Value> {
    let path = format!("/feed/listeners?per_page=100&sort_by=recent{query}");
    let feed = pair.app.get(&path).as_user(&pair.caller).answer().await;
    assert_eq!(feed.status, 200, "{feed:?}");
    let listeners = feed.body["listeners"].as_array().expect("listeners");
    let mut found = listeners.iter();
    found
        .find(|each| each["user_id"] == pair.listener.user_id)
        .cloned()
}

async fn start(pair: &CallPair, call_type: &str) -> ApiAnswer {
    let body = json!({"listener_id": pair.listener.user_id, "call_type": call_type});
    let request = pair.app.post("/calls/start").as_user(&pair.caller);
    request.json(&body).answer().await
}

#[tokio::test]
async fn a_listener_who_takes_no_calls_stays_online_and_is_not_called() {
    let pair = CallPair::sign_up().await;
    let fresh = set_status(&pair.app, &pair.listener, json!({"is_online": true})).await;
    assert_eq!(fresh.body["accepting_calls"], true, "{fresh:?}");
    let paused = json!({"accepting_calls": false});
    let paused = set_status(&pair.app, &pair.listener, paused).await;
    assert_eq!(paused.body["accepting_calls"], false, "{paused:?}");
    assert_eq!(paused.body["is_busy"], false, "{paused:?}");

    assert_problem(&pair.request_call().await, 409, "listener_unavailable");
    wait_for("the feed to show that no calls are taken", || async {
        let listener = find_in_feed(&pair, "&online_only=true").await?;
        (listener["is_available"] == false).then_some(())
    })
    .await;
    assert!(find_in_feed(&pair, "&available_only=true").await.is_none());
    let path = format!("/users/{}/presence", pair.listener.user_id);
    let status = pair.app.get(&path).as_user(&pair.caller).answer().await;
    assert_eq!(
        (&status.body["is_online"], &status.body["is_available"]),
        (&json!(true), &json!(false)),
        "{status:?}"
    );

    set_status(&pair.app, &pair.listener, json!({"accepting_calls": true})).await;
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn no_heartbeat_and_no_other_change_makes_a_listener_take_calls_again() {
    let app = connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    set_status(&app, &listener, json!({"accepting_calls": false})).await;
    for change in [
        json!({"is_online": false}),
        json!({"is_busy": true, "wait_time": 0}),
        json!({"is_busy": false, "is_online": true}),
    ] {
        set_status(&app, &listener, change).await;
        let beat = app.post("/users/me/heartbeat").as_user(&listener).answer();
        assert_eq!(beat.await.status, 200);
    }
    let again = app.log_in_again(&listener).await;
    let status = app.get("/users/me/status").as_user(&again).answer().await;
    assert_eq!(
        (&status.body["is_online"], &status.body["accepting_calls"]),
        (&json!(true), &json!(false)),
        "{status:?}"
    );
    let wrong = json!({"accepting_calls": "no"});
    let put = app.put("/users/me/status").as_user(&listener).json(&wrong);
    assert_eq!(put.answer().await.status, 422);
}

#[tokio::test]
async fn sockets_show_that_a_listener_takes_no_calls() {
    let app = connect_app().await;
    let listener = app.sign_up(UserRole::Listener).await;
    let watcher = app.sign_up(UserRole::User).await;
    let mut presence = app.open_socket("/ws/presence", &watcher).await;
    let mut feed = app.open_socket("/ws/feed", &watcher).await;
    let is_status = |r#type: &'static str, is_available: bool| {
        let user_id = listener.user_id;
        move |message: &Value| {
            message["type"] == r#type
                && message["data"]["user_id"] == user_id
                && message["data"]["is_available"] == is_available
        }
    };
    set_status(&app, &listener, json!({"accepting_calls": false})).await;
    let paused = presence.receive_matching("paused", WAIT_MAX, is_status("status_change", false));
    let paused = paused.await.expect("a status");
    assert_eq!(paused["data"]["is_online"], true, "{paused}");
    assert_eq!(paused["data"]["is_busy"], false, "{paused}");
    let in_feed = feed.receive_matching("paused", WAIT_MAX, is_status("listener_busy", false));
    in_feed.await.expect("the feed shows it as busy");

    set_status(&app, &listener, json!({"accepting_calls": true})).await;
    let resumed = feed.receive_matching("resumed", WAIT_MAX, is_status("listener_available", true));
    resumed.await.expect("available again");
}

#[tokio::test]
async fn a_listener_chooses_the_types_of_calls_to_take() {
    let pair = CallPair::sign_up().await;
    let read_preferences = async |path: &str| {
        let answer = pair.app.get(path).as_user(&pair.listener).answer().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body
    };
    let both = json!({"audio_enabled": true, "video_enabled": true});
    assert_eq!(read_preferences("/listeners/me/preferences").await, both);
    let changed = set_preferences(&pair.app, &pair.listener, json!({"video_enabled": false}));
    let changed = changed.await;
    let no_video = json!({"audio_enabled": true, "video_enabled": false});
    assert_eq!((changed.status, &changed.body), (200, &no_video));
    assert_eq!(read_preferences("/listener/preferences").await, no_video);

    assert_problem(&start(&pair, "video").await, 409, "call_type_disabled");
    let listener = find_in_feed(&pair, "&call_type=audio").await;
    let listener = listener.expect("takes audio calls");
    assert_eq!(
        (&listener["audio_enabled"], &listener["video_enabled"]),
        (&json!(true), &json!(false))
    );
    assert!(find_in_feed(&pair, "&call_type=video").await.is_none());
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn preferences_that_make_no_sense_are_refused() {
    let pair = CallPair::sign_up_without_coins().await;
    for (body, status, code) in [
        (
            json!({"audio_enabled": false, "video_enabled": false}),
            400,
            "invalid_preferences",
        ),
        (json!({}), 400, "invalid_preferences"),
    ] {
        let refused = set_preferences(&pair.app, &pair.listener, body).await;
        assert_problem(&refused, status, code);
    }
    let wrong = set_preferences(&pair.app, &pair.listener, json!({"audio_enabled": 1})).await;
    assert_eq!(wrong.status, 422, "{wrong:?}");
    let no_listener = set_preferences(&pair.app, &pair.caller, json!({"audio_enabled": true}));
    assert_problem(&no_listener.await, 403, "listener_only");
    let alias = pair
        .app
        .put("/listener/preferences")
        .as_user(&pair.listener);
    let alias = alias.json(&json!({"audio_enabled": false})).answer().await;
    assert_eq!(alias.status, 200, "{alias:?}");
    let feed = pair.app.get("/feed/listeners?call_type=text");
    let feed = feed.as_user(&pair.caller).answer().await;
    assert_problem(&feed, 400, "invalid_call_type");
}
