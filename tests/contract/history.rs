//! Section 7: histories, summaries and receipts of calls.

use serde_json::{Value, json};
use talktime_client::AppUser;
use talktime_tests::{CallPair, ExpectAnswer};

use crate::{assert_fields, assert_problem};

async fn get(pair: &CallPair, person: &AppUser, path: &str) -> Value {
    let answer = pair.app.get(path).as_user(person).answer().await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

/// Makes and ends a call; returns its id and its minutes.
async fn make_call(pair: &CallPair) -> (i64, i64) {
    let call_id = pair.start_call().await;
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    (
        call_id,
        ended.body["duration_minutes"].as_i64().expect("minutes"),
    )
}

#[tokio::test]
async fn both_sides_find_their_calls_newest_first() {
    let pair = CallPair::sign_up().await;
    let (first, first_minutes) = make_call(&pair).await;
    let (second, second_minutes) = make_call(&pair).await;
    let minutes = first_minutes + second_minutes;

    let made = get(&pair, &pair.caller, "/calls/history").await;
    let ids: Vec<&Value> = made["calls"]
        .as_array()
        .expect("calls")
        .iter()
        .map(|c| &c["call_id"])
        .collect();
    assert_eq!(ids, [&json!(second), &json!(first)]);
    assert_fields(
        &made["calls"][0],
        &[
            "user_id",
            "listener_id",
            "call_type",
            "start_time",
            "end_time",
            "duration_seconds",
            "duration_minutes",
            "coins_spent",
            "user_money_spend",
            "listener_money_earned",
            "status",
            "caller_username",
            "listener_username",
            "created_at",
            "updated_at",
        ],
    );
    assert_eq!(
        (&made["total_calls"], &made["total_coins_spent"]),
        (&json!(2), &json!(10 * minutes))
    );
    assert_eq!(
        (&made["total_money_spent"], &made["total_earnings"]),
        (&json!(5 * minutes), &json!(0))
    );
    assert_fields(&made, &["page", "per_page", "has_next", "has_previous"]);

    let taken = get(&pair, &pair.listener, "/calls/history").await;
    assert_eq!(
        (&taken["total_calls"], &taken["total_earnings"]),
        (&json!(2), &json!(minutes))
    );
    assert_eq!(
        taken["total_coins_spent"], 0,
        "the caller's coins are the caller's"
    );
}

#[tokio::test]
async fn history_is_paged_and_filtered() {
    let pair = CallPair::sign_up().await;
    let (first, _) = make_call(&pair).await;
    make_call(&pair).await;
    let page = get(&pair, &pair.caller, "/calls/history?page=2&per_page=1").await;
    assert_eq!(page["calls"][0]["call_id"], first);
    assert_eq!(
        (&page["has_next"], &page["has_previous"]),
        (&json!(false), &json!(true))
    );
    for (query, total) in [
        ("call_type=audio", 2),
        ("call_type=video", 0),
        ("status=completed", 2),
        ("status=ongoing", 0),
        ("call_type=audio&status=dropped", 0),
    ] {
        let found = get(&pair, &pair.caller, &format!("/calls/history?{query}")).await;
        assert_eq!(found["total_calls"], total, "{query}");
    }
    for (query, code) in [
        ("call_type=smoke", "invalid_call_type"),
        ("status=lost", "invalid_status"),
        ("page=0", "invalid_page"),
        ("per_page=101", "invalid_per_page"),
    ] {
        let path = format!("/calls/history?{query}");
        assert_problem(
            &pair.app.get(&path).as_user(&pair.caller).answer().await,
            400,
            code,
        );
    }
}

#[tokio::test]
async fn a_live_call_is_in_the_history_and_a_refused_one_is_not() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let live = get(&pair, &pair.caller, "/calls/history?status=ongoing").await;
    assert_eq!(live["calls"][0]["call_id"], call_id);
    assert!(live["calls"][0]["end_time"].is_null());
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);

    let poor = CallPair::sign_up_without_coins().await;
    assert_eq!(poor.request_call().await.status, 400);
    assert_eq!(
        get(&poor, &poor.caller, "/calls/history").await["total_calls"],
        0
    );
}

#[tokio::test]
async fn a_summary_adds_up() {
    let pair = CallPair::sign_up().await;
    let (_, minutes) = make_call(&pair).await;
    let answer = get(&pair, &pair.caller, "/calls/history/summary").await;
    let summary = &answer["summary"];
    for (field, value) in [
        ("total_calls", 1),
        ("calls_made", 1),
        ("calls_received", 0),
        ("completed_calls", 1),
        ("dropped_calls", 0),
        ("ongoing_calls", 0),
        ("audio_calls", 1),
        ("video_calls", 0),
        ("total_coins_spent", 10 * minutes),
        ("total_money_spent", 5 * minutes),
        ("total_earnings", 0),
    ] {
        assert_eq!(summary[field], value, "{field}: {summary}");
    }
    assert_fields(summary, &["total_duration_seconds", "avg_duration_seconds"]);
    assert_eq!(answer["recent_calls"].as_array().map(Vec::len), Some(1));
    let months = answer["monthly_stats"].as_array().expect("months");
    assert_eq!(months.len(), 6);
    assert_eq!(
        (&months[0]["calls_count"], &months[0]["coins_spent"]),
        (&json!(1), &json!(10 * minutes))
    );
    assert_eq!(
        (&months[5]["calls_count"], &months[5]["earnings"]),
        (&json!(0), &json!(0))
    );
}

#[tokio::test]
async fn only_the_parties_see_a_receipt_with_every_minute() {
    let pair = CallPair::sign_up().await;
    let (call_id, minutes) = make_call(&pair).await;
    let path = format!("/calls/{call_id}");
    for person in [&pair.caller, &pair.listener] {
        let receipt = get(&pair, person, &path).await;
        assert_eq!(receipt["coins_spent"], 10 * minutes);
        let lines = receipt["minutes"].as_array().expect("minutes");
        assert_eq!(i64::try_from(lines.len()).expect("few"), minutes);
        assert_eq!(lines[0]["transfer_id"], format!("call/{call_id}/minute/1"));
        assert_eq!(
            (&lines[0]["coins"], &lines[0]["begins_at"]),
            (&json!(10), &receipt["start_time"])
        );
    }
    let stranger = CallPair::sign_up_without_coins().await;
    let answer = stranger
        .app
        .get(&path)
        .as_user(&stranger.caller)
        .answer()
        .await;
    assert_problem(&answer, 403, "not_a_party");
    let unknown = pair
        .app
        .get("/calls/999999999")
        .as_user(&pair.caller)
        .answer()
        .await;
    assert_problem(&unknown, 404, "call_not_found");
}

/// Asserts what everybody learns of the platform while a listener is online.
fn assert_activity(status: &Value) {
    assert_fields(
        status,
        &[
            "average_call_duration",
            "total_coins_processed",
            "listeners_busy",
            "last_updated",
        ],
    );
    assert_eq!(status["system_status"], "operational");
    assert!(status["listeners_online"].as_i64() >= Some(1), "{status}");
}

#[tokio::test]
async fn the_platforms_activity_counts_this_call_and_is_exact_for_admins_alone() {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let coarse = get(&pair, &pair.caller, "/calls/status").await;
    assert_activity(&coarse);
    for (field, step, max) in [
        ("active_calls", 10, 100),
        ("total_calls_today", 10, 100),
        ("total_coins_processed", 100, 1_000),
    ] {
        let number = coarse[field].as_i64().expect("a number");
        assert_eq!((number % step, number.min(max)), (0, number), "{coarse}");
    }
    let admin = pair.app.sign_up_admin().await;
    let status = get(&pair, &admin, "/calls/status").await;
    assert_activity(&status);
    assert!(status["active_calls"].as_i64() >= Some(1), "{status}");
    assert!(status["total_calls_today"].as_i64() >= Some(1), "{status}");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}
