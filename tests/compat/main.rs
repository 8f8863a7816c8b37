//! An app for the original back end, screen by screen: its requests, and the fields that it reads without checking
//! for null.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppSocket, random_phone, random_username};
use talktime_tests::{ExpectAnswer, TestApp, WAIT_MAX, connect_app, wait_for};

/// The way in which a screen uses a field of an answer.
#[derive(Clone, Copy, Debug)]
enum FieldUse {
    /// `field.toFixed(1)`, or a sum.
    Number,
    /// `field.length`, or a part of the text.
    Text,
    /// The condition of an `if`.
    Flag,
    /// `field.map(…)`.
    List,
}

use FieldUse::{Flag, List, Number, Text};

/// Asserts that a screen can read a field as it does.
#[track_caller]
fn assert_readable(object: &Value, fields: &[(&str, FieldUse)]) {
    for (field, reads) in fields {
        let value = &object[*field];
        let is_readable = match reads {
            Number => value.is_number(),
            Text => value.is_string(),
            Flag => value.is_boolean(),
            List => value.is_array(),
        };
        assert!(is_readable, "{field} is no {reads:?}: {object}");
    }
}

fn expect_ok(answer: ApiAnswer) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body
}

/// The app on the phone of a user.
struct OriginalApp {
    app: TestApp,
    token: String,
    refresh_token: String,
    user_id: i64,
    username: String,
}

impl OriginalApp {
    /// Registers a user with empty optional fields.
    async fn register(role: &str) -> Self {
        let app = connect_app().await;
        let (phone, username) = (random_phone(), random_username("legacy"));
        let requested = app.post("/auth/request_otp").json(&json!({"phone": phone}));
        expect_ok(requested.answer().await);
        let otp = app.read_otp(&phone).await;
        let verified = app.post("/auth/verify");
        let verified = verified.json(&json!({"phone": phone, "otp": otp}));
        let verified = expect_ok(verified.answer().await);
        assert_eq!(verified["status"], "needs_registration");
        let form = json!({
            "registration_token": verified["registration_token"], "username": username,
            "sex": "female", "dob": "1998-03-14", "role": role, "bio": "", "interests": [],
            "profile_image_url": "", "preferred_language": "en",
        });
        let registered = expect_ok(app.post("/auth/register").json(&form).answer().await);
        let token = |name: &str| registered[name].as_str().expect("a token").to_owned();
        Self {
            token: token("access_token"),
            refresh_token: token("refresh_token"),
            user_id: registered["user_id"].as_i64().expect("an id"),
            username,
            app,
        }
    }

    async fn get(&self, path: &str) -> Value {
        expect_ok(self.app.get(path).bearer(&self.token).answer().await)
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.app.post(path).bearer(&self.token).json(&body);
        expect_ok(request.answer().await)
    }

    async fn put(&self, path: &str, body: Value) -> Value {
        let request = self.app.put(path).bearer(&self.token).json(&body);
        expect_ok(request.answer().await)
    }

    async fn delete(&self, path: &str, body: Value) -> Value {
        let request = self.app.delete(path).bearer(&self.token).json(&body);
        expect_ok(request.answer().await)
    }

    async fn listen(&self, path: &str) -> AppSocket {
        let address = self.app.gateway_url();
        let socket = AppSocket::open(address, path, Some(&self.token)).await;
        socket.expect("the socket opens")
    }

    /// Finds a listener on the first page of the feed.
    async fn find(&self, query: &str, other: &Self) -> Value {
        wait_for("the listener on the feed's screen", || async {
            let page = self.get(&format!("/feed/listeners?{query}")).await;
            let entries = page["listeners"].as_array().expect("a list").clone();
            let mut found = entries.into_iter();
            found.find(|entry| entry["user_id"] == other.user_id)
        })
        .await
    }
}

#[tokio::test]
async fn the_profile_is_shown_edited_and_saved() {
    let phone = OriginalApp::register("user").await;
    let shown = phone.get("/users/me").await;
    assert_readable(
        &shown,
        &[("username", Text), ("rating", Number), ("interests", List)],
    );
    assert_eq!(shown["username"], phone.username);
    assert_eq!(phone.put("/users/me", shown.clone()).await, shown);
    let mut form = shown;
    for (field, value) in [
        ("bio", json!("Talks about films")),
        ("interests", json!(["films"])),
        ("country", json!("")),
        ("profile_image_url", json!("")),
    ] {
        form[field] = value;
    }
    let saved = phone.put("/users/me", form).await;
    assert_eq!(saved["bio"], "Talks about films");
    let emptied = phone.put("/users/me", json!({"bio": ""})).await;
    assert_eq!(emptied["bio"], Value::Null);
}

#[tokio::test]
async fn the_feed_is_filtered_and_its_cards_are_drawn() {
    let (caller, listener) = (
        OriginalApp::register("user").await,
        OriginalApp::register("listener").await,
    );
    let filters = "page=1&per_page=100&online_only=true&available_only=&sex=&language=&interests=\
        &min_rating=&max_rating=&sort_by=recent&sort_order=desc";
    let card = caller.find(filters, &listener).await;
    assert_readable(
        &card,
        &[
            ("username", Text),
            ("bio", Text),
            ("rating", Number),
            ("interests", List),
            ("is_online", Flag),
            ("is_busy", Flag),
            ("is_available", Flag),
            ("call_count", Number),
            ("avg_call_duration", Number),
        ],
    );
    let statistics = caller.get("/feed/stats").await;
    assert_readable(
        &statistics,
        &[("average_rating", Number), ("top_interests", List)],
    );
    assert_readable(
        &statistics["gender_distribution"],
        &[("female", Number), ("male", Number), ("other", Number)],
    );
}

#[tokio::test]
async fn the_feed_reads_back_its_filters_and_follows_its_listeners() {
    let (caller, listener) = (
        OriginalApp::register("user").await,
        OriginalApp::register("listener").await,
    );
    let page = caller.get("/feed/listeners?page=1&per_page=20").await;
    assert_readable(
        &page["filters"],
        &[
            ("min_rating", Number),
            ("max_rating", Number),
            ("interests", List),
            ("online_only", Flag),
        ],
    );
    let mut feed = caller.listen("/ws/feed").await;
    feed.receive_type("hello", WAIT_MAX).await.expect("hello");
    listener
        .put("/users/me/status", json!({"is_online": false}))
        .await;
    let gone = feed.receive_matching("the listener to go offline", WAIT_MAX, |message| {
        message["type"] == "listener_offline" && message["data"]["user_id"] == listener.user_id
    });
    assert_readable(
        &gone.await.expect("a live update")["data"],
        &[
            ("username", Text),
            ("is_online", Flag),
            ("is_available", Flag),
        ],
    );
}

#[tokio::test]
async fn favourites_and_blocks_are_kept_and_both_sides_are_notified() {
    let (caller, listener) = (
        OriginalApp::register("user").await,
        OriginalApp::register("listener").await,
    );
    let mut notifications = listener.listen("/ws/notifications").await;
    let id = listener.user_id;
    caller
        .post("/favorites/add", json!({"listener_id": id}))
        .await;
    let notified = notifications.receive_type("favorite_added", WAIT_MAX).await;
    let notified = notified.expect("a notification");
    assert_eq!(notified["data"]["user_id"], caller.user_id);
    assert_eq!(notified["data"]["username"], caller.username);
    assert_readable(&notified["data"], &[("action", Text)]);

    let path = "/favorites?online_only=true&available_only=&page=1&per_page=20";
    let favorites = wait_for("the favourite to be online", || async {
        let page = caller.get(path).await;
        (page["total_count"] == 1).then_some(page)
    })
    .await;
    assert_readable(
        &favorites["favorites"][0],
        &[("bio", Text), ("rating", Number), ("is_available", Flag)],
    );
    caller
        .delete("/favorites/remove", json!({"listener_id": id}))
        .await;
    let removed = notifications
        .receive_type("favorite_removed", WAIT_MAX)
        .await;
    removed.expect("a notification");

    let report = json!({"user_id": id, "action_type": "report", "reason": "rude"});
    assert_eq!(caller.post("/block", report).await["user_id"], id);
    let checked = caller.get(&format!("/block/check/{id}")).await;
    assert_eq!(checked["action_type"], "report");
    let listed = caller.get("/blocked?action_type=report").await;
    assert_readable(
        &listed["blocked_users"][0],
        &[("bio", Text), ("reason", Text)],
    );
    caller.delete("/block", json!({"user_id": id})).await;
    assert_eq!(caller.get("/blocked?action_type=").await["total_count"], 0);
}

async fn buy_coins(caller: &OriginalApp) {
    caller
        .post("/calls/recharge", json!({"amount_rupees": 150}))
        .await;
    let recharges = caller
        .get("/calls/recharge/history?page=1&per_page=20")
        .await;
    assert_readable(
        &recharges["recharges"][0],
        &[
            ("amount_rupees", Number),
            ("coins_added", Number),
            ("payment_method", Text),
            ("status", Text),
        ],
    );
}

#[tokio::test]
async fn coins_are_bought_a_call_is_made_and_somebody_hangs_up() {
    let (caller, listener) = (
        OriginalApp::register("user").await,
        OriginalApp::register("listener").await,
    );
    let rates = caller.get("/calls/rates").await;
    assert_readable(
        &rates,
        &[
            ("audio_rate_per_minute", Number),
            ("video_rate_per_minute", Number),
        ],
    );
    buy_coins(&caller).await;
    let mut calls = listener.listen("/ws/calls").await;
    let mut presence = caller.listen("/ws/presence").await;
    presence
        .send(&json!({"type": "heartbeat"}))
        .await
        .expect("sent");
    let answered = presence.receive_type("heartbeat_response", WAIT_MAX).await;
    answered.expect("a response");

    let call = json!({"listener_id": listener.user_id, "call_type": "audio"});
    let started = caller.post("/calls/start", call).await;
    let rung = calls.receive_type("call_started", WAIT_MAX).await;
    assert_eq!(rung.expect("a call")["data"]["call_id"], started["call_id"]);
    let busy = presence.receive_matching("the listener to be busy", WAIT_MAX, |message| {
        message["type"] == "presence_update"
            && message["data"]["user_id"] == listener.user_id
            && message["data"]["is_busy"] == true
    });
    busy.await.expect("a live update");
    let ongoing = caller.get("/calls/ongoing").await;
    assert_readable(
        &ongoing,
        &[("cost_per_minute", Number), ("duration_seconds", Number)],
    );
    let hang_up = json!({"call_id": started["call_id"], "reason": "user_ended"});
    let ended = caller.post("/calls/end", hang_up).await;
    assert_eq!(ended["status"], "completed");
    assert_readable(
        &ended,
        &[("coins_spent", Number), ("remaining_coins", Number)],
    );

    let history = caller
        .get("/calls/history?page=1&per_page=20&call_type=&status=")
        .await;
    assert_eq!(history["calls"][0]["call_id"], started["call_id"]);
    let summary = caller.get("/calls/history/summary").await;
    assert_readable(
        &summary,
        &[
            ("total_calls", Number),
            ("total_duration", Number),
            ("calls_this_month", Number),
            ("calls_this_week", Number),
        ],
    );
    let month = summary["monthly_stats"][0]["month"].as_str();
    assert!(month.is_some_and(|month| month.ends_with("-01T00:00:00Z")));
}

#[tokio::test]
async fn a_session_is_refreshed_and_ended() {
    let phone = OriginalApp::register("user").await;
    let refresh = json!({"refresh_token": phone.refresh_token});
    let tokens = phone.post("/auth/refresh", refresh).await;
    assert_readable(&tokens, &[("access_token", Text), ("refresh_token", Text)]);
    phone.post("/users/me/heartbeat", json!({})).await;
    let status = phone.get("/users/me/status").await;
    assert_readable(
        &status,
        &[("is_online", Flag), ("is_busy", Flag), ("last_seen", Text)],
    );
    phone.post("/auth/logout", json!({})).await;
    let refused = phone.app.get("/users/me").bearer(&phone.token).answer();
    let refused = refused.await;
    assert_eq!(refused.status, 401, "{refused:?}");
    assert_readable(&refused.body, &[("detail", Text), ("code", Text)]);
}

/// The reads of the original's documentation, with a list or a number that their screens show.
const READS_OF_USERS: [(&str, &str); 12] = [
    ("/users/me", "interests"),
    ("/users/me/status", "user_id"),
    ("/feed/listeners", "listeners"),
    ("/feed/stats", "total_listeners"),
    ("/favorites", "favorites"),
    ("/blocked", "blocked_users"),
    ("/wallet/balance", "balance_coins"),
    ("/calls/balance", "current_balance"),
    ("/calls/history", "calls"),
    ("/calls/recharge/history", "recharges"),
    ("/calls/status", "active_calls"),
    ("/transactions/user", "transactions"),
];
const READS_OF_LISTENERS: [(&str, &str); 5] = [
    ("/wallet/earnings", "earnings"),
    ("/wallet/withdrawals", "withdrawals"),
    ("/transactions/listener", "transactions"),
    ("/verification/status", "verification_count"),
    ("/verification/history", "verifications"),
];

#[tokio::test]
async fn every_read_of_the_originals_documentation_is_answered() {
    let (caller, listener) = (
        OriginalApp::register("user").await,
        OriginalApp::register("listener").await,
    );
    let id = listener.user_id;
    for (path, field) in READS_OF_USERS {
        let answer = caller.get(path).await;
        assert!(!answer[field].is_null(), "{path} has no {field}: {answer}");
    }
    for (path, field) in READS_OF_LISTENERS {
        let answer = listener.get(path).await;
        assert!(!answer[field].is_null(), "{path} has no {field}: {answer}");
    }
    let presence = caller.get(&format!("/users/{id}/presence")).await;
    assert_readable(&presence, &[("username", Text), ("is_online", Flag)]);
    let many = caller.get(&format!("/users/presence?user_ids={id}")).await;
    assert_readable(&many[0], &[("username", Text), ("is_busy", Flag)]);
    for (path, flag) in [
        (format!("/favorites/check/{id}"), "is_favorited"),
        (format!("/block/check/{id}"), "is_blocked"),
    ] {
        assert_eq!(caller.get(&path).await[flag], false, "{path}");
    }
    let bank = listener.get("/wallet/bank-details").await;
    assert_readable(&bank, &[("has_bank_details", Flag), ("message", Text)]);
}

#[tokio::test]
async fn a_listeners_screens_have_their_badge_and_their_money() {
    let listener = OriginalApp::register("listener").await;
    let current = listener.get("/badges/current").await;
    assert_readable(
        &current["current_badge"],
        &[("badge", Text), ("date", Text)],
    );
    let history = listener.get("/badges/history?start_date=&end_date=").await;
    assert!(history.is_array(), "{history}");
    let statistics = listener.get("/badges/statistics").await;
    assert_readable(
        &statistics,
        &[("date_range", Text), ("total_listeners", Number)],
    );
    let withdrawals = listener.get("/wallet/withdrawals?page=&per_page=").await;
    assert_readable(
        &withdrawals,
        &[("withdrawals", List), ("total_withdrawn", Number)],
    );
}
