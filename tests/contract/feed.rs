//! Section 5: the feed of listeners.

use serde_json::{Value, json};
use talktime_client::{ApiClient, AppUser, UserRole, random_username};
use talktime_tests::replica::start_gateway;
use talktime_tests::{CallPair, ExpectAnswer, connect_app, wait_for};

use crate::{assert_fields, assert_problem};

/// Finds the listener in the caller's feed.
async fn find_in_feed(pair: &CallPair, query: &str) -> Option<Value> {
    let path = format!("/feed/listeners?per_page=100&sort_by=recent{query}");
    let feed = pair.app.get(&path).as_user(&pair.caller).answer().await;
    assert_eq!(feed.status, 200, "{feed:?}");
    let listeners = feed.body["listeners"].as_array().expect("listeners");
    listeners
        .iter()
        .find(|each| each["user_id"] == pair.listener.user_id)
        .cloned()
}

#[tokio::test]
async fn an_online_listener_is_in_the_feed_with_every_field() {
    let pair = CallPair::sign_up_without_coins().await;
    let listener = wait_for("the listener to be seen online", || async {
        find_in_feed(&pair, "&online_only=true").await
    })
    .await;
    assert_fields(
        &listener,
        &[
            "user_id",
            "username",
            "sex",
            "bio",
            "interests",
            "profile_image_url",
            "preferred_language",
            "country",
            "rating",
            "roles",
            "is_online",
            "is_busy",
            "wait_time",
            "last_seen",
            "is_available",
            "call_count",
            "avg_call_duration",
        ],
    );
    assert_eq!(
        (&listener["is_online"], &listener["is_available"]),
        (&true.into(), &true.into())
    );
    let page = pair
        .app
        .get("/feed/listeners")
        .as_user(&pair.caller)
        .answer()
        .await;
    assert_fields(
        &page.body,
        &[
            "listeners",
            "filters",
            "pagination",
            "total_count",
            "online_count",
            "available_count",
            "page",
            "per_page",
            "has_next",
            "has_previous",
            "next_cursor",
        ],
    );
    let filters = &page.body["filters"];
    assert_eq!(
        (&filters["min_rating"], &filters["max_rating"]),
        (&json!(0), &json!(5))
    );
    assert_fields(
        &page.body["pagination"],
        &["page", "per_page", "total", "has_next", "has_previous"],
    );
}

#[tokio::test]
async fn the_feed_shows_the_start_and_the_end_of_a_call() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    wait_for("busy in the feed", || async {
        let listener = find_in_feed(&pair, "").await?;
        (listener["is_busy"] == true && listener["is_available"] == false).then_some(())
    })
    .await;
    assert!(find_in_feed(&pair, "&available_only=true").await.is_none());
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    wait_for("free in the feed", || async {
        (find_in_feed(&pair, "").await?["is_available"] == true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn no_listener_sees_themselves_in_the_feed() {
    let pair = CallPair::sign_up_without_coins().await;
    let path = "/feed/listeners?per_page=100&sort_by=recent";
    let feed = pair.app.get(path).as_user(&pair.listener).answer().await;
    let listeners = feed.body["listeners"].as_array().expect("listeners");
    assert!(
        listeners
            .iter()
            .all(|each| each["user_id"] != pair.listener.user_id)
    );
}

#[tokio::test]
async fn pages_and_filters_have_bounds() {
    let pair = CallPair::sign_up_without_coins().await;
    for query in [
        "page=0",
        "page=-1",
        "page=x",
        "per_page=0",
        "per_page=101",
        "sort_by=name",
        "sort_order=up",
        "sex=unknown",
        "min_rating=6",
        "online_only=maybe",
        "cursor=nonsense",
        "q=two+words",
        "q=a%25",
    ] {
        let refused = pair
            .app
            .get(&format!("/feed/listeners?{query}"))
            .as_user(&pair.caller)
            .answer()
            .await;
        assert_eq!(refused.status, 400, "{query}: {refused:?}");
    }
    assert_problem(
        &pair.app.get("/feed/listeners").answer().await,
        401,
        "missing_token",
    );
}

/// Lists the user names and the total count of a search.
async fn search(pair: &CallPair, query: &str) -> (Vec<String>, Value) {
    let path = format!("/feed/listeners?{query}");
    let page = pair.app.get(&path).as_user(&pair.caller).answer().await;
    assert_eq!(page.status, 200, "{query}: {page:?}");
    let listeners = page.body["listeners"].as_array().expect("listeners");
    let names = listeners.iter().map(|listener| &listener["username"]);
    let names = names.map(|name| name.as_str().expect("a name").to_owned());
    (names.collect(), page.body["total_count"].clone())
}

#[tokio::test]
async fn listeners_are_found_by_the_beginning_of_their_name() {
    let pair = CallPair::sign_up_without_coins().await;
    let name = random_username("find");
    let tamil = format!("{name}_a");
    let hindi = format!("{}_B", name.to_uppercase());
    for (username, language) in [(&tamil, "ta"), (&hindi, "hi")] {
        let listener = pair.app.sign_up(UserRole::Listener).await;
        let body = json!({"username": username, "preferred_language": language});
        let renamed = pair.app.put("/users/me").as_user(&listener).json(&body);
        assert_eq!(renamed.answer().await.status, 200);
    }
    let both = vec![tamil.clone(), hindi.clone()];
    for (query, expected) in [
        (format!("q={name}"), both.clone()),
        (format!("q={}", name.to_uppercase()), both),
        (format!("q={name}&language=ta"), vec![tamil.clone()]),
        (format!("q={name}_b"), vec![hindi.clone()]),
        (format!("q={name}_a_"), vec![]),
    ] {
        let (mut found, total) = search(&pair, &query).await;
        found.sort_by_key(|name| name.to_ascii_lowercase());
        assert_eq!(total, expected.len(), "{query}");
        assert_eq!(found, expected, "{query}");
    }
}

#[tokio::test]
async fn a_search_is_paged_by_cursors() {
    let pair = CallPair::sign_up_without_coins().await;
    pair.app.sign_up(UserRole::Listener).await;
    let mut path = "/feed/listeners?q=listener_&per_page=1".to_owned();
    let mut found = vec![];
    for _ in 0..2 {
        let page = pair.app.get(&path).as_user(&pair.caller).answer().await;
        assert_eq!(page.body["filters"]["q"], "listener_", "{page:?}");
        found.push(page.body["listeners"][0]["user_id"].clone());
        let cursor = page.body["next_cursor"].as_str().map(str::to_owned);
        let Some(cursor) = cursor else { break };
        path = format!("/feed/listeners?q=listener_&per_page=1&cursor={cursor}");
    }
    assert_eq!(found.len(), 2, "two listeners at least have such a name");
    assert_ne!(found[0], found[1]);
}

#[tokio::test]
async fn the_statistics_of_the_feed_are_consistent() {
    let pair = CallPair::sign_up_without_coins().await;
    let app = &pair.app;
    let stats = wait_for("the listener to be counted online", || async {
        let stats = app.get("/feed/stats").as_user(&pair.caller).answer().await;
        assert_eq!(stats.status, 200, "{stats:?}");
        (stats.body["online_listeners"].as_i64()? >= 1).then_some(stats.body)
    })
    .await;
    assert_fields(
        &stats,
        &[
            "total_listeners",
            "online_listeners",
            "busy_listeners",
            "available_listeners",
            "average_rating",
            "top_interests",
            "gender_distribution",
            "language_distribution",
            "last_updated",
        ],
    );
    for sex in ["female", "male", "other"] {
        assert!(stats["gender_distribution"][sex].is_i64(), "{sex}: {stats}");
    }
    let count = |field: &str| stats[field].as_i64().expect("a count");
    assert_eq!(
        count("online_listeners"),
        count("busy_listeners") + count("available_listeners")
    );
    for distribution in ["gender_distribution", "language_distribution"] {
        let counts = stats[distribution].as_object().expect("counts").values();
        let sum: i64 = counts.filter_map(serde_json::Value::as_i64).sum();
        assert_eq!(sum, count("total_listeners"), "{distribution}: {stats}");
    }
}

#[tokio::test]
async fn a_user_has_a_hundred_requests_a_minute_over_all_gateways() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    let person = app.sign_up(UserRole::User).await;
    let other = app.sign_up(UserRole::User).await;
    let request = async |gateway: &ApiClient, person: &AppUser| {
        gateway
            .get("/feed/listeners?per_page=1")
            .as_user(person)
            .answer()
            .await
    };
    for sent in 0..100 {
        let gateway = if sent % 2 == 0 { &*app } else { &replica.app };
        let answer = request(gateway, &person).await;
        assert_eq!(answer.status, 200, "{sent}: {answer:?}");
        let left = (99 - sent).to_string();
        assert_eq!(answer.header("ratelimit-limit"), Some("100"));
        assert_eq!(answer.header("ratelimit-remaining"), Some(left.as_str()));
    }
    for gateway in [&*app, &replica.app] {
        let refused = request(gateway, &person).await;
        assert_problem(&refused, 429, "rate_limited");
        let seconds = |name: &str| {
            refused
                .header(name)
                .and_then(|secs| secs.parse::<u64>().ok())
        };
        assert!(seconds("retry-after").is_some_and(|secs| (1..=60).contains(&secs)));
        assert_eq!(seconds("ratelimit-reset"), seconds("retry-after"));
        assert_eq!(refused.header("ratelimit-remaining"), Some("0"));
    }
    assert_eq!(
        request(&app, &other).await.status,
        200,
        "each has their own"
    );
}
