//! Two people talk in two browsers: Chromium with the page of `deploy/client/web`, and real relays.
//!
//! Each test runs one of the scenarios of `scenarios.js`, which describe what they show. They run one after another:
//! most machines have few cores, and some scenarios kill parts of the one stack.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use talktime_client::AppUser;
use talktime_tests::{CallPair, assert_books_are_right};
use tokio::process::Command;
use tokio::sync::Mutex;

/// Longest run of a scenario, each of whose waits has a deadline of its own.
const SCENARIO_MAX: Duration = Duration::from_mins(2);
/// Coins of a caller whose coins are used up within a few minutes of the test stack.
const FEW_COINS: i64 = 60;

static STACK: Mutex<()> = Mutex::const_new(());

/// Runs a scenario with two new accounts, and checks the books after it.
async fn run_scenario(name: &str) {
    run_scenario_with(name, &CallPair::sign_up().await).await;
}

async fn run_scenario_with(name: &str, pair: &CallPair) {
    let _stack = STACK.lock().await;
    let account = |user: &AppUser| json!({"phone": user.phone, "user_id": user.user_id});
    let accounts = json!({"caller": account(&pair.caller), "listener": account(&pair.listener)});
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/media/run");
    let mut command = Command::new(script);
    command
        .arg(name)
        .env("SCENARIO_ACCOUNTS", accounts.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let ended = tokio::time::timeout(SCENARIO_MAX, command.output()).await;
    let output = ended.expect("in time").expect("the script runs");
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} failed:\n{report}");
    assert_books_are_right().await;
}

#[tokio::test]
async fn two_people_hear_each_other_while_the_meter_runs() {
    run_scenario("both_hear_each_other").await;
}

#[tokio::test]
async fn nothing_arrives_after_the_last_coin() {
    let pair = CallPair::sign_up().await;
    pair.spend_coins_except(FEW_COINS).await;
    run_scenario_with("nothing_arrives_after_the_last_coin", &pair).await;
}

#[tokio::test]
async fn apps_that_report_nothing_pay() {
    run_scenario("apps_that_report_nothing_pay").await;
}

#[tokio::test]
async fn apps_that_report_nothing_pay_before_the_relay_counts() {
    run_scenario("apps_that_report_nothing_pay_before_the_relay_counts").await;
}

#[tokio::test]
async fn addresses_of_devices_are_removed() {
    run_scenario("addresses_of_devices_are_removed").await;
}

#[tokio::test]
async fn a_lost_listener_costs_nothing_more() {
    run_scenario("a_lost_listener_costs_nothing_more").await;
}

#[tokio::test]
async fn a_call_without_media_costs_nothing() {
    run_scenario("a_call_without_media_costs_nothing").await;
}

#[tokio::test]
async fn sound_goes_on_without_the_gateway() {
    run_scenario("sound_goes_on_without_the_gateway").await;
}

#[tokio::test]
async fn sound_comes_back_through_another_relay() {
    run_scenario("sound_comes_back_through_another_relay").await;
}

#[tokio::test]
async fn agents_that_were_away_cut_and_count_exactly() {
    run_scenario("agents_that_were_away_cut_and_count_exactly").await;
}
