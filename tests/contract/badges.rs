//! Section 10: badges. The calls service tests how they follow from talk time, with a clock that tests control.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser};
use talktime_tests::{CallPair, ExpectAnswer, TestApp, connect_app, wait_for};

use crate::{assert_fields, assert_problem};

async fn get(app: &TestApp, person: &AppUser, path: &str) -> ApiAnswer {
    app.get(path).as_user(person).answer().await
}

#[track_caller]
fn assert_basic(badge: &Value, listener: &AppUser) {
    assert_eq!(badge["listener_id"], listener.user_id);
    assert_eq!(badge["badge"], "basic");
    assert_eq!(badge["audio_rate_per_minute"], 1);
    assert_eq!(badge["video_rate_per_minute"], 6);
    assert_fields(badge, &["date", "assigned_at"]);
}

#[tokio::test]
async fn a_listener_sees_the_badge_and_the_requirement_of_the_next() {
    let pair = CallPair::sign_up_without_coins().await;
    let current = get(&pair.app, &pair.listener, "/badges/current").await;
    assert_eq!(current.status, 200, "{current:?}");
    assert_basic(&current.body["current_badge"], &pair.listener);
    assert_eq!(current.body["yesterday_duration_hours"], 0);
    assert_eq!(current.body["next_badge_threshold"], 3);

    let history = get(&pair.app, &pair.listener, "/badges/history").await;
    assert_eq!(history.status, 200, "{history:?}");
    assert_eq!(history.body, json!([current.body["current_badge"]]));
    for path in ["/badges/current", "/badges/history"] {
        let refused = get(&pair.app, &pair.caller, path).await;
        assert_problem(&refused, 403, "listener_only");
    }
}

#[tokio::test]
async fn days_out_of_range_are_refused() {
    let pair = CallPair::sign_up_without_coins().await;
    for (query, code) in [
        (
            "start_date=2026-02-02&end_date=2026-02-01",
            "invalid_date_range",
        ),
        (
            "start_date=2024-01-01&end_date=2026-01-01",
            "invalid_date_range",
        ),
        (
            "start_date=-262142-01-01&end_date=-262142-02-01",
            "invalid_date_range",
        ),
        ("start_date=yesterday", "invalid_query"),
    ] {
        for path in ["/badges/history", "/badges/statistics"] {
            let refused = get(&pair.app, &pair.listener, &format!("{path}?{query}")).await;
            assert_problem(&refused, 400, code);
        }
    }
}

#[tokio::test]
async fn an_admin_reassigns_badges_and_reads_those_of_others() {
    let pair = CallPair::sign_up_without_coins().await;
    let admin = pair.app.sign_up_admin().await;
    let of_listener = format!("/badges/{}", pair.listener.user_id);
    // Calls knows a listener once the event has arrived.
    let badge = wait_for("the listener to be known", || async {
        let badge = get(&pair.app, &admin, &of_listener).await;
        (badge.status == 200).then_some(badge.body)
    })
    .await;
    assert_basic(&badge, &pair.listener);
    let assignment = pair
        .app
        .post("/badges/assign")
        .as_user(&admin)
        .answer()
        .await;
    assert_eq!(assignment.status, 200, "{assignment:?}");
    let count = |field: &str| assignment.body[field].as_i64().expect("a count");
    assert!(count("basic_assigned") >= 1, "{assignment:?}");
    assert_eq!(
        count("total_listeners"),
        ["basic", "bronze", "silver", "gold"]
            .map(|badge| count(&format!("{badge}_assigned")))
            .iter()
            .sum::<i64>()
    );
    assert_eq!(count("errors"), 0);
    assert_fields(&assignment.body, &["message", "date"]);

    let statistics = get(&pair.app, &pair.caller, "/badges/statistics").await;
    assert_eq!(statistics.status, 200, "{statistics:?}");
    assert!(statistics.body["total_listeners"].as_i64() >= Some(1));
    assert_fields(&statistics.body, &["date_range", "start_date", "end_date"]);
    let basic = &statistics.body["statistics"][0];
    assert_eq!(
        (
            &basic["badge"],
            &basic["avg_audio_rate"],
            &basic["avg_video_rate"]
        ),
        (&json!("basic"), &json!(1), &json!(6))
    );
    assert!(basic["count"].as_i64() >= Some(1));
}

#[tokio::test]
async fn only_admins_assign_badges_and_only_for_past_days() {
    let pair = CallPair::sign_up_without_coins().await;
    let give = async |person: &AppUser, query: &str| {
        let path = format!("/badges/assign{query}");
        pair.app.post(&path).as_user(person).answer().await
    };
    assert_problem(&give(&pair.listener, "").await, 403, "admin_only");
    let of_listener = format!("/badges/{}", pair.listener.user_id);
    let refused = get(&pair.app, &pair.listener, &of_listener).await;
    assert_problem(&refused, 403, "admin_only");
    let admin = pair.app.sign_up_admin().await;
    for date in ["2999-01-01", "2020-01-01", "-262142-01-01"] {
        let refused = give(&admin, &format!("?target_date={date}")).await;
        assert_problem(&refused, 400, "invalid_target_date");
        let refused = get(
            &pair.app,
            &admin,
            &format!("{of_listener}?target_date={date}"),
        )
        .await;
        assert_problem(&refused, 400, "invalid_target_date");
    }
    let unknown = get(&pair.app, &admin, "/badges/999999999").await;
    assert_problem(&unknown, 404, "badge_not_found");
}

#[tokio::test]
async fn a_call_keeps_the_prices_that_it_began_with() {
    let app = connect_app().await;
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    let receipt = get(&app, &pair.listener, &format!("/calls/{call_id}")).await;
    assert_eq!(receipt.body["rate_per_minute"], 10, "{receipt:?}");
    assert_eq!(receipt.body["listener_rate_per_minute"], 1);
    assert_eq!(receipt.body["listener_badge"], "basic");
    assert!(receipt.body["prices_version"].is_i64());
}
