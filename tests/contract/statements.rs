//! Sections 6 and 7: histories of coins and rupees.

use serde_json::{Value, json};
use talktime_client::{ApiAnswer, AppUser};
use talktime_tests::{CallPair, ExpectAnswer, wait_for};

use crate::{assert_fields, assert_problem};

const PAGING: [&str; 4] = ["page", "per_page", "has_next", "has_previous"];

async fn get(pair: &CallPair, person: &AppUser, path: &str) -> ApiAnswer {
    pair.app.get(path).as_user(person).answer().await
}

async fn get_ok(pair: &CallPair, person: &AppUser, path: &str) -> Value {
    let answer = get(pair, person, path).await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    answer.body
}

/// Makes a call; returns its pair, its id and the paid minutes.
async fn make_call() -> (CallPair, i64, i64) {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let minutes = ended.body["duration_minutes"].as_i64().expect("minutes");
    wait_for("the settlement", || async {
        (pair.load_earned().await == json!(minutes)).then_some(())
    })
    .await;
    (pair, call_id, minutes)
}

#[tokio::test]
async fn a_call_is_in_the_histories_of_both_parties() {
    let (pair, call_id, minutes) = make_call().await;
    let coins = 10 * minutes;

    let history = get_ok(&pair, &pair.caller, "/transactions/user").await;
    assert_fields(&history, &PAGING);
    assert_eq!(history["total"], minutes + 1);
    assert_eq!(history["current_balance"], 300 - coins);
    let summary = json!({
        "total_coins_spent": coins, "total_money_spent": 150,
        "total_coins_earned": 0, "total_money_earned": 0
    });
    assert_eq!(history["summary"], summary);
    let newest = &history["transactions"][0];
    assert_fields(newest, &["transaction_id", "description", "created_at"]);
    assert_eq!(newest["tx_type"], "spend");
    assert_eq!(newest["coins_change"], -10);
    assert_eq!(newest["money_change"], 0);
    assert_eq!(newest["call_id"], call_id);

    let earned = get_ok(&pair, &pair.listener, "/wallet/earnings").await;
    assert_fields(&earned, &PAGING);
    assert_eq!(earned["total_calls"], 1);
    assert_eq!(earned["total_coins"], coins);
    assert_eq!(earned["total_earnings"], minutes);
    let call = &earned["earnings"][0];
    assert!(call["created_at"].is_string(), "{call}");
    assert_eq!(call["call_id"], call_id);
    assert_eq!(call["user_id"], pair.caller.user_id);
    assert_eq!(call["coins_earned"], coins);
    assert_eq!(call["money_earned"], minutes);
    assert_eq!(call["duration_minutes"], minutes);
    assert_eq!(call["call_type"], "audio");

    let rupees = get_ok(&pair, &pair.listener, "/transactions/listener").await;
    assert_fields(&rupees, &PAGING);
    assert_eq!(rupees["total"], 1);
    assert_eq!(rupees["current_balance"], 0);
    assert_eq!(rupees["transactions"][0]["tx_type"], "earn");
    assert_eq!(rupees["transactions"][0]["money_change"], minutes);
    let summary = json!({
        "total_coins_earned": coins, "total_money_earned": minutes,
        "total_withdrawn": 0, "available_balance": minutes
    });
    assert_eq!(rupees["summary"], summary);
}

#[tokio::test]
async fn the_balance_of_calls_shows_the_newest_lines() {
    let (pair, _, minutes) = make_call().await;
    let coins = get_ok(&pair, &pair.caller, "/calls/balance").await;
    assert_eq!(coins["user_id"], pair.caller.user_id);
    assert_eq!(coins["current_balance"], 300 - 10 * minutes);
    assert_eq!(coins["total_spent"], 10 * minutes);
    assert_eq!(coins["total_earned"], 0);
    let lines = coins["recent_transactions"].as_array().expect("lines");
    let last = lines.last().expect("the recharge");
    assert_fields(last, &["transaction_id", "description", "created_at"]);
    assert_eq!(
        (&last["type"], &last["amount"]),
        (&json!("purchase"), &json!(300))
    );
}

#[tokio::test]
async fn recharges_are_listed_page_by_page() {
    let pair = CallPair::sign_up().await;
    for rupees in [300, 500] {
        let recharged = pair.app.recharge(&pair.caller, rupees).await;
        assert_eq!(recharged.expect("answered").status, 200);
    }
    let first = get_ok(&pair, &pair.caller, "/calls/recharge/history?per_page=2").await;
    let paging = json!({
        "page": 1, "per_page": 2, "total": 3, "has_next": true, "has_previous": false
    });
    assert_eq!(first["pagination"], paging);
    for field in PAGING {
        assert_eq!(first[field], paging[field], "{field}");
    }
    assert_eq!(first["total_recharged"], 950);
    assert_eq!(first["total_coins_added"], 1_900);
    let newest = &first["recharges"][0];
    assert_fields(newest, &["recharge_id", "transaction_id", "created_at"]);
    for amount in ["amount_paid", "amount_rupees"] {
        assert_eq!(newest[amount], 500, "{amount}");
    }
    for coins in ["coins_received", "coins_added"] {
        assert_eq!(newest[coins], 1_000, "{coins}");
    }
    assert_eq!(newest["payment_method"], "upi");
    assert_eq!(newest["status"], "completed");
    let last = get_ok(
        &pair,
        &pair.caller,
        "/calls/recharge/history?per_page=2&page=2",
    )
    .await;
    assert_eq!(last["recharges"][0]["amount_paid"], 150);
    assert_eq!(last["recharges"].as_array().map(Vec::len), Some(1));
    assert_eq!(last["has_next"], false);
}

#[tokio::test]
async fn a_history_is_filtered_by_type() {
    let (pair, ..) = make_call().await;
    for (tx_type, total) in [("purchase", 1), ("bonus", 0), ("earn", 0)] {
        let path = format!("/transactions/user?tx_type={tx_type}");
        assert_eq!(
            get_ok(&pair, &pair.caller, &path).await["total"],
            total,
            "{tx_type}"
        );
    }
    let spent = get_ok(&pair, &pair.caller, "/transactions/user?tx_type=spend").await;
    assert!(spent["total"].as_i64() >= Some(1), "{spent}");
    assert_problem(
        &get(&pair, &pair.caller, "/transactions/user?tx_type=gift").await,
        400,
        "invalid_tx_type",
    );
    for tx_type in ["purchase", "gift"] {
        let path = format!("/transactions/listener?tx_type={tx_type}");
        assert_problem(
            &get(&pair, &pair.listener, &path).await,
            400,
            "invalid_tx_type",
        );
    }
}

#[tokio::test]
async fn only_listeners_see_earnings_and_pages_are_bounded() {
    let pair = CallPair::sign_up_without_coins().await;
    for path in ["/wallet/earnings", "/transactions/listener"] {
        assert_problem(&get(&pair, &pair.caller, path).await, 403, "listener_only");
        let empty = get_ok(&pair, &pair.listener, path).await;
        assert_eq!(empty["has_next"], false, "{empty}");
    }
    for path in [
        "/wallet/earnings",
        "/transactions/user",
        "/transactions/listener",
        "/calls/recharge/history",
    ] {
        let person = &pair.listener;
        let page = get(&pair, person, &format!("{path}?page=0")).await;
        assert_problem(&page, 400, "invalid_page");
        let per_page = get(&pair, person, &format!("{path}?per_page=101")).await;
        assert_problem(&per_page, 400, "invalid_per_page");
        let words = get(&pair, person, &format!("{path}?page=one")).await;
        assert_problem(&words, 400, "invalid_query");
        let anonymous = pair.app.get(path).answer().await;
        assert_eq!(anonymous.status, 401, "{anonymous:?}");
    }
}

#[tokio::test]
async fn earnings_are_summed_by_day_week_and_month() {
    let (pair, _, minutes) = make_call().await;
    let path = "/wallet/earnings/summary";
    let summary = get_ok(&pair, &pair.listener, path).await;
    let expected = json!({
        "calls": 1, "minutes": minutes, "coins": 10 * minutes, "paise": 100 * minutes
    });
    for period in ["today", "week", "month"] {
        assert_eq!(summary[period], expected, "{period}");
    }
    let days = summary["days"].as_array().expect("days");
    assert_eq!(days.len(), 7);
    let today = &days[6];
    assert_eq!(today["paise"], 100 * minutes);
    assert_eq!(days[0]["calls"], 0);

    let date = today["date"].as_str().expect("a date");
    let one = get_ok(
        &pair,
        &pair.listener,
        &format!("{path}?from={date}&to={date}"),
    )
    .await;
    assert_eq!(one["days"], json!([today]));
    for range in [
        "from=2026-02-01&to=2026-01-31",
        "from=2026-01-01&to=2026-04-03",
        "from=yesterday",
        "to=2026-02-30",
        "to=-262143-01-01",
        "from=0001-01-01",
    ] {
        let refused = get(&pair, &pair.listener, &format!("{path}?{range}")).await;
        assert_problem(&refused, 400, "invalid_date_range");
    }
    let refused = get(&pair, &pair.caller, path).await;
    assert_problem(&refused, 403, "listener_only");
}
