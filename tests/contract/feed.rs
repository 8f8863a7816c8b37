//! Section 5: the feed of listeners.

use serde_json::Value;
use talktime_tests::{Answered, Pair, wait_for};

use crate::{assert_fields, assert_problem};

/// The listener as the caller finds them in the feed.
async fn seen(pair: &Pair, query: &str) -> Option<Value> {
    let path = format!("/feed/listeners?per_page=100&sort_by=recent{query}");
    let feed = pair.app.get(&path).of(&pair.caller).answer().await;
    assert_eq!(feed.status, 200, "{feed:?}");
    let listeners = feed.body["listeners"].as_array().expect("listeners");
    listeners
        .iter()
        .find(|each| each["user_id"] == pair.listener.user_id)
        .cloned()
}

#[tokio::test]
async fn an_online_listener_is_in_the_feed_with_every_field() {
    let pair = Pair::meet_without_coins().await;
    let listener = wait_for("the listener to be seen online", || async {
        seen(&pair, "&online_only=true").await
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
        .of(&pair.caller)
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
    assert_fields(
        &page.body["pagination"],
        &["page", "per_page", "total", "has_next", "has_previous"],
    );
}

#[tokio::test]
async fn a_call_shows_in_the_feed_and_its_end_too() {
    let pair = Pair::meet().await;
    let call_id = pair.must_call().await;
    wait_for("busy in the feed", || async {
        let listener = seen(&pair, "").await?;
        (listener["is_busy"] == true && listener["is_available"] == false).then_some(())
    })
    .await;
    assert!(seen(&pair, "&available_only=true").await.is_none());
    assert_eq!(pair.end(&pair.caller, call_id).await.status, 200);
    wait_for("free in the feed", || async {
        (seen(&pair, "").await?["is_available"] == true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn nobody_sees_themselves() {
    let pair = Pair::meet_without_coins().await;
    let path = "/feed/listeners?per_page=100&sort_by=recent";
    let feed = pair.app.get(path).of(&pair.listener).answer().await;
    let listeners = feed.body["listeners"].as_array().expect("listeners");
    assert!(
        listeners
            .iter()
            .all(|each| each["user_id"] != pair.listener.user_id)
    );
}

#[tokio::test]
async fn pages_and_filters_have_bounds() {
    let pair = Pair::meet_without_coins().await;
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
    ] {
        let refused = pair
            .app
            .get(&format!("/feed/listeners?{query}"))
            .of(&pair.caller)
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
