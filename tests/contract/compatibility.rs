//! Section 11: behaviour on which apps for the original back end rely.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser, UserRole, random_phone, random_username};
use talktime_tests::replica::start_gateway;
use talktime_tests::{CallPair, ExpectAnswer, TestApp, WAIT_MAX, connect_app, wait_for};

use crate::{assert_fields, assert_problem};

async fn read(app: &TestApp, person: &AppUser, path: &str) -> Value {
    let answer = app.get(path).as_user(person).answer().await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

async fn update_profile(app: &TestApp, person: &AppUser, body: &Value) -> ApiAnswer {
    app.put("/users/me")
        .as_user(person)
        .json(body)
        .answer()
        .await
}

async fn add_favorite(app: &TestApp, person: &AppUser, listener: &AppUser) {
    let body = json!({"listener_id": listener.user_id});
    let added = app.post("/favorites/add").as_user(person).json(&body);
    assert_eq!(added.answer().await.status, 200);
}

/// Returns the listener from the first page of the feed.
async fn find_in_feed(app: &TestApp, viewer: &AppUser, listener: &AppUser) -> Value {
    wait_for("the listener in the feed", || async {
        let path = "/feed/listeners?per_page=100&sort_by=recent";
        let page = read(app, viewer, path).await;
        let listeners = page["listeners"].as_array().expect("a list").iter();
        let mut found = listeners.filter(|entry| entry["user_id"] == listener.user_id);
        found.next().cloned()
    })
    .await
}

#[tokio::test]
async fn empty_texts_mean_none_in_a_registration() {
    let app = connect_app().await;
    let phone = random_phone();
    let requested = app
        .post("/auth/request_otp")
        .json(&json!({"phone": phone}))
        .answer()
        .await;
    assert_eq!(requested.status, 200, "{requested:?}");
    let otp = app.read_otp(&phone).await;
    let verified = app
        .post("/auth/verify")
        .json(&json!({"phone": phone, "otp": otp}))
        .answer()
        .await;
    let body = json!({
        "registration_token": verified.body["registration_token"],
        "username": random_username("empty"), "sex": "female", "dob": "1999-12-31", "role": "user",
        "bio": "", "profile_image_url": "", "interests": [], "preferred_language": "",
    });
    let registered = app.post("/auth/register").json(&body).answer().await;
    assert_eq!(registered.status, 200, "{registered:?}");
    let token = registered.body["access_token"].as_str().expect("a token");
    let me = app.get("/users/me").bearer(token).answer().await;
    assert_eq!(
        (&me.body["bio"], &me.body["profile_image_url"]),
        (&Value::Null, &Value::Null),
        "{me:?}"
    );
    assert_eq!(me.body["preferred_language"], "en");
}

#[tokio::test]
async fn empty_texts_clear_a_profile_and_null_changes_nothing() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let full = json!({
        "bio": "Good listener", "profile_image_url": "https://example.com/a.png", "country": "IN",
    });
    let changed = update_profile(&app, &person, &full).await;
    assert_eq!(changed.status, 200, "{changed:?}");
    let nulls = json!({"bio": null, "profile_image_url": null, "country": null});
    let kept = update_profile(&app, &person, &nulls).await;
    assert_eq!(kept.body, changed.body);
    let empty = json!({"bio": "", "profile_image_url": "", "country": ""});
    let cleared = update_profile(&app, &person, &empty).await;
    assert_eq!(cleared.status, 200, "{cleared:?}");
    for field in ["bio", "profile_image_url", "country"] {
        assert_eq!(cleared.body[field], Value::Null, "{field}: {cleared:?}");
    }
}

#[tokio::test]
async fn a_profile_may_be_sent_back_as_it_was_read() {
    let app = connect_app().await;
    for role in [UserRole::User, UserRole::Listener] {
        let person = app.sign_up(role).await;
        let me = read(&app, &person, "/users/me").await;
        let sent_back = update_profile(&app, &person, &me).await;
        assert_eq!((sent_back.status, &sent_back.body), (200, &me));
        let changed = update_profile(&app, &person, &json!({"rating": 0.5})).await;
        assert_problem(&changed, 403, "rating_not_allowed");
    }
}

#[tokio::test]
async fn a_call_ends_for_the_reasons_of_the_original() {
    let pair = CallPair::sign_up().await;
    for (reason, status) in [("user_ended", "completed"), ("technical_issue", "dropped")] {
        let call_id = pair.start_call().await;
        let end = async |reason: &str| {
            let body = json!({"call_id": call_id, "reason": reason});
            let request = pair
                .app
                .post("/calls/end")
                .as_user(&pair.caller)
                .json(&body);
            request.answer().await
        };
        assert_problem(&end("network_error").await, 400, "invalid_reason");
        let ended = end(reason).await;
        assert_eq!(
            (ended.status, ended.body["status"].as_str()),
            (200, Some(status)),
            "{reason}: {ended:?}"
        );
    }
}

#[tokio::test]
async fn an_unrated_listener_has_no_null_fields() {
    let pair = CallPair::sign_up_without_coins().await;
    let (app, caller, listener) = (&pair.app, &pair.caller, &pair.listener);
    add_favorite(app, caller, listener).await;
    let in_feed = find_in_feed(app, caller, listener).await;
    let favorites = read(app, caller, "/favorites").await;
    for entry in [&in_feed, &favorites["favorites"][0]] {
        assert_eq!(
            (&entry["rating"], &entry["bio"]),
            (&json!(0), &json!("")),
            "{entry}"
        );
    }
    let me = read(app, listener, "/users/me").await;
    assert_eq!(me["rating"], 0);
    let stats = read(app, caller, "/feed/stats").await;
    assert!(stats["average_rating"].is_number(), "{stats}");
    let body = json!({"blocked_id": caller.user_id});
    let blocked = app
        .post("/block")
        .as_user(listener)
        .json(&body)
        .answer()
        .await;
    assert_eq!(blocked.status, 200, "{blocked:?}");
    let blocked = read(app, listener, "/blocked").await;
    assert_eq!(blocked["blocked_users"][0]["bio"], "");
}

#[tokio::test]
async fn durations_are_minutes_beside_seconds() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    let in_feed = find_in_feed(&pair.app, &pair.caller, &pair.listener).await;
    let status = read(&pair.app, &pair.caller, "/calls/status").await;
    for (answer, field) in [
        (&in_feed, "avg_call_duration"),
        (&status, "average_call_duration"),
    ] {
        let seconds = answer["avg_call_duration_seconds"].as_f64();
        let minutes = answer[field].as_f64().expect("minutes");
        let expected = (seconds.expect("seconds") / 6.0).round() / 10.0;
        assert!((minutes - expected).abs() < 0.01, "{answer}");
    }
}

#[tokio::test]
async fn the_order_recent_starts_with_the_listener_seen_last() {
    let pair = CallPair::sign_up_without_coins().await;
    let app = &pair.app;
    let later = app.sign_up(UserRole::Listener).await;
    find_in_feed(app, &pair.caller, &later).await;
    let again = app.put("/users/me/status").as_user(&pair.listener);
    let again = again.json(&json!({"is_busy": true, "wait_time": 5}));
    assert_eq!(again.answer().await.status, 200);
    let busy = json!(pair.listener.user_id);
    wait_for("the listener who was seen last to come before", || async {
        let page = read(
            app,
            &pair.caller,
            "/feed/listeners?per_page=100&sort_by=recent",
        )
        .await;
        let listeners = page["listeners"].as_array().expect("a list").iter();
        let mut ids = listeners.map(|entry| entry["user_id"].clone());
        let found = ids.find(|id| *id == busy || *id == later.user_id);
        (found.as_ref() == Some(&busy)).then_some(())
    })
    .await;
    for order in ["desc", "asc"] {
        let path = format!("/feed/listeners?per_page=100&sort_by=recent&sort_order={order}");
        let page = read(app, &pair.caller, &path).await;
        let listeners = page["listeners"].as_array().expect("a list").iter();
        // A time without the letter sorts before times with it.
        let mut seen: Vec<&str> = listeners
            .filter_map(|entry| entry["last_seen"].as_str())
            .map(|time| time.trim_end_matches('Z'))
            .collect();
        if order == "desc" {
            seen.reverse();
        }
        assert!(seen.is_sorted(), "{order}: {seen:?}");
    }
}

#[tokio::test]
async fn badges_and_months_are_written_as_the_original_wrote_them() {
    let pair = CallPair::sign_up_without_coins().await;
    let range = "start_date=2026-01-05&end_date=2026-02-01";
    let path = format!("/badges/statistics?{range}");
    let statistics = read(&pair.app, &pair.caller, &path).await;
    assert_eq!(statistics["date_range"], "2026-01-05 to 2026-02-01");
    assert_eq!(statistics["start_date"], "2026-01-05");
    assert_eq!(statistics["end_date"], "2026-02-01");
    let summary = read(&pair.app, &pair.caller, "/calls/history/summary").await;
    for month in summary["monthly_stats"].as_array().expect("months") {
        let month = month["month"].as_str().expect("a text");
        assert!(
            month.len() == 20 && month.ends_with("-01T00:00:00Z"),
            "{month}"
        );
    }
}

#[tokio::test]
async fn an_empty_query_value_counts_as_absent() {
    let pair = CallPair::sign_up_without_coins().await;
    let (app, caller, listener) = (&pair.app, &pair.caller, &pair.listener);
    let filters = "online_only=&available_only=&sex=&min_rating=&max_rating=&interests=&language=\
        &sort_by=&sort_order=&cursor=";
    for (person, path, query) in [
        (caller, "/feed/listeners", filters),
        (caller, "/favorites", "online_only=&available_only="),
        (caller, "/blocked", "action_type="),
        (caller, "/calls/history", "call_type=&status="),
        (caller, "/transactions/user", "tx_type="),
        (listener, "/transactions/listener", "tx_type="),
        (caller, "/calls/recharge/history", ""),
        (caller, "/wallet/withdrawals", ""),
        (listener, "/wallet/earnings", ""),
    ] {
        let empty = read(app, person, &format!("{path}?{query}&page=&per_page=")).await;
        let absent = read(app, person, path).await;
        for field in ["page", "per_page", "filters"] {
            assert_eq!(empty[field], absent[field], "{path} {field}");
        }
    }
    for path in ["/badges/history", "/badges/statistics"] {
        read(app, listener, &format!("{path}?start_date=&end_date=")).await;
    }
}

#[tokio::test]
async fn a_block_names_the_person_by_either_name() {
    let app = connect_app().await;
    let (one, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let id = other.user_id;
    let check = async || read(&app, &one, &format!("/block/check/{id}")).await;
    assert_eq!(check().await["action_type"], Value::Null);
    let report = json!({"user_id": id, "action_type": "report"});
    let blocked = app
        .post("/block")
        .as_user(&one)
        .json(&report)
        .answer()
        .await;
    assert_eq!(blocked.status, 200, "{blocked:?}");
    assert_eq!(
        (&blocked.body["user_id"], &blocked.body["blocked_id"]),
        (&json!(id), &json!(id))
    );
    let checked = check().await;
    assert_eq!(
        (&checked["action_type"], &checked["user_id"]),
        (&json!("report"), &json!(id))
    );
    let by_body = app
        .delete("/block")
        .as_user(&one)
        .json(&json!({"user_id": id}))
        .answer()
        .await;
    assert_eq!(by_body.body["user_id"], id, "{by_body:?}");
    let by_query = app.delete(&format!("/block?user_id={id}")).as_user(&one);
    assert_eq!(by_query.answer().await.body["is_blocked"], false);
    for body in [json!({}), json!({"user_id": "7"})] {
        let refused = app.post("/block").as_user(&one).json(&body).answer().await;
        assert_problem(&refused, 422, "invalid_body");
    }
    let two_people = json!({"user_id": id, "blocked_id": one.user_id});
    let refused = app
        .post("/block")
        .as_user(&one)
        .json(&two_people)
        .answer()
        .await;
    assert_problem(&refused, 400, "invalid_blocked_id");
}

#[tokio::test]
async fn favourites_are_filtered_by_status() {
    let pair = CallPair::sign_up_without_coins().await;
    let (app, caller) = (&pair.app, &pair.caller);
    let (busy, away) = (
        app.sign_up(UserRole::Listener).await,
        app.sign_up(UserRole::Listener).await,
    );
    update_profile(app, &pair.listener, &json!({"country": "IN"})).await;
    for (listener, status) in [
        (&busy, json!({"is_busy": true, "wait_time": 5})),
        (&away, json!({"is_online": false})),
    ] {
        let changed = app.put("/users/me/status").as_user(listener).json(&status);
        assert_eq!(changed.answer().await.status, 200);
    }
    for listener in [&pair.listener, &busy, &away] {
        add_favorite(app, caller, listener).await;
    }
    for (query, expected) in [
        ("", [3, 2, 1]),
        ("?online_only=true", [2, 2, 1]),
        ("?available_only=true", [1, 1, 1]),
        ("?available_only=true&online_only=true", [1, 1, 1]),
        ("?online_only=false", [3, 2, 1]),
    ] {
        let page = wait_for("the favourites' statuses", || async {
            let page = read(app, caller, &format!("/favorites{query}")).await;
            let counts = ["total_count", "online_count", "available_count"];
            (counts.map(|count| page[count].as_i64()) == expected.map(Some)).then_some(page)
        })
        .await;
        let favorites = page["favorites"].as_array().expect("a list");
        assert_eq!(favorites.len(), usize::try_from(expected[0]).expect("few"));
        let free = favorites
            .iter()
            .find(|entry| entry["user_id"] == pair.listener.user_id);
        assert_eq!(free.expect("the free one")["country"], "IN", "{query}");
    }
    let paged = read(app, caller, "/favorites?online_only=true&per_page=1").await;
    assert_eq!(
        (&paged["has_next"], &paged["total"]),
        (&json!(true), &json!(2))
    );
}

#[tokio::test]
async fn blocked_people_are_filtered_by_action() {
    let app = connect_app().await;
    let one = app.sign_up(UserRole::User).await;
    for action in ["block", "report", "report"] {
        let other = app.sign_up(UserRole::User).await;
        let body = json!({"blocked_id": other.user_id, "action_type": action});
        let blocked = app.post("/block").as_user(&one).json(&body).answer().await;
        assert_eq!(blocked.status, 200, "{blocked:?}");
    }
    for (query, total) in [
        ("", 3),
        ("?action_type=block", 1),
        ("?action_type=report", 2),
    ] {
        let page = read(&app, &one, &format!("/blocked{query}")).await;
        assert_eq!(page["total_count"], total, "{query}: {page}");
        assert_eq!(page["blocked_users"].as_array().map(Vec::len), Some(total));
    }
    let unknown = app
        .get("/blocked?action_type=mute")
        .as_user(&one)
        .answer()
        .await;
    assert_problem(&unknown, 400, "invalid_action_type");
}

#[tokio::test]
async fn rates_and_totals_are_also_flat() {
    let pair = CallPair::sign_up().await;
    let rates = read(&pair.app, &pair.caller, "/calls/rates").await;
    assert_eq!(
        (
            &rates["audio_rate_per_minute"],
            &rates["video_rate_per_minute"]
        ),
        (&json!(10), &json!(60))
    );
    let call_id = pair.start_call().await;
    for person in [&pair.caller, &pair.listener] {
        assert_eq!(pair.load_ongoing_call(person).await["cost_per_minute"], 10);
    }
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    for person in [&pair.caller, &pair.listener] {
        let summary = read(&pair.app, person, "/calls/history/summary").await;
        for field in ["total_calls", "calls_this_month", "calls_this_week"] {
            assert_eq!(summary[field], 1, "{field}: {summary}");
        }
        assert_fields(&summary, &["total_duration", "summary", "monthly_stats"]);
    }
}

#[tokio::test]
async fn a_heartbeat_on_a_socket_is_answered() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    for path in ["/ws/feed", "/ws/presence", "/ws/calls", "/ws/notifications"] {
        let mut socket = app.open_socket(path, &person).await;
        let heartbeat = json!({"type": "heartbeat"});
        socket.send(&heartbeat).await.expect("sent");
        let answered = socket.receive_type("heartbeat_response", WAIT_MAX).await;
        answered.unwrap_or_else(|error| panic!("{path}: {error:#}"));
    }
}

#[tokio::test]
async fn an_operator_may_have_no_call_answered_as_not_found() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let by_default = read(&app, &person, "/calls/ongoing").await;
    assert_eq!(by_default["call_id"], Value::Null);
    let setting = (
        "TALKTIME_GATEWAY__COMPATIBILITY__NO_CALL_IS_NOT_FOUND",
        "true",
    );
    let original = start_gateway(&[setting]).await;
    let ongoing = original.app.get("/calls/ongoing").as_user(&person);
    assert_problem(&ongoing.answer().await, 404, "no_ongoing_call");
}
