//! `kill -9` at every step: nothing is lost, nothing is doubled, nobody stays busy.
//!
//! A service started with `TALKTIME_FAILPOINT` dies when it reaches that point. Then it is started
//! without, and what the dead one left must be finished or undone by itself.

use sqlx::{Connection, PgConnection};
use talktime_tests::{CallPair, assert_books_are_right, read_variable, run_dev, wait_for};

use crate::take_stack;

const RATE_COINS: i64 = 10;
const RECHARGED_COINS: i64 = 300;

pub(crate) async fn arm(service: &str, failpoint: &str) {
    let variable = format!("TALKTIME_FAILPOINT={failpoint}");
    run_dev(&["restart", service, "--no-build", "--env", &variable]).await;
}

pub(crate) async fn disarm(service: &str) {
    run_dev(&["restart", service, "--no-build"]).await;
}

/// The call that the caller is on; none when there is none.
async fn live_call(pair: &CallPair) -> Option<i64> {
    pair.load_ongoing_call(&pair.caller).await["call_id"].as_i64()
}

/// Waits until no start is half done. The sweeper drops the row of an undone start once its lease ends, and
/// updates presence then: that would reach the failpoint of a later test.
async fn wait_until_no_start_is_half_done() {
    wait_for("every start to be live or gone", || async {
        let database = PgConnection::connect(&read_variable("DATABASE_URL")).await;
        let half_done: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM calls.user_calls WHERE phase IN ('reserving', 'undoing')",
        )
        .fetch_one(&mut database.expect("connected"))
        .await
        .expect("counted");
        (half_done == 0).then_some(())
    })
    .await;
}

/// After a start that was cut off: either there is a call, paid once, which can be ended, or there
/// never was one. Both people are free afterwards and can talk again.
async fn assert_finished_or_undone(pair: &CallPair) {
    let coins = wait_for("the start to be finished or undone", || async {
        let coins = pair.load_coins().await;
        match live_call(pair).await {
            Some(call_id) => {
                let ended = pair.end_call(&pair.caller, call_id).await;
                (ended.status == 200).then(|| ended.body["remaining_coins"].clone())
            }
            None => (coins == RECHARGED_COINS).then(|| coins.into()),
        }
    })
    .await;
    assert!(
        coins == RECHARGED_COINS || coins == RECHARGED_COINS - RATE_COINS,
        "{coins}"
    );
    wait_for("both free", || async {
        pair.are_both_free().await.then_some(())
    })
    .await;
    assert_books_are_right().await;

    // A start that died before it could say so holds both people until its lease ends.
    let before = pair.load_coins().await;
    let call_id = wait_for("another call", || async {
        let started = pair.request_call().await;
        (started.status == 200).then(|| started.body["call_id"].as_i64().expect("an id"))
    })
    .await;
    assert_eq!(pair.load_coins().await, before - RATE_COINS);
    let ended = pair.end_call(&pair.listener, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_books_are_right().await;
}

async fn kill_at_start(service: &str, failpoint: &str) {
    let pair = CallPair::sign_up().await;
    wait_until_no_start_is_half_done().await;
    arm(service, failpoint).await;
    let cut_off = pair.request_call().await;
    assert!(
        [200, 503].contains(&cut_off.status),
        "{failpoint}: {cut_off:?}"
    );
    disarm(service).await;
    assert_finished_or_undone(&pair).await;
}

#[tokio::test]
async fn calls_dies_at_every_step_of_a_start() {
    let _stack = take_stack().await;
    for failpoint in [
        "calls.start.before_reserved",
        "calls.start.reserved",
        "calls.start.charged",
        "calls.start.before_active",
        "calls.start.active",
    ] {
        kill_at_start("calls", failpoint).await;
    }
}

#[tokio::test]
async fn wallet_dies_around_the_commit_of_a_charge() {
    let _stack = take_stack().await;
    for failpoint in ["wallet.charge.before_commit", "wallet.charge.committed"] {
        kill_at_start("wallet", failpoint).await;
    }
}

#[tokio::test]
async fn presence_dies_around_the_commit_of_busy() {
    let _stack = take_stack().await;
    for failpoint in ["presence.call.before_commit", "presence.call.committed"] {
        kill_at_start("presence", failpoint).await;
    }
}

#[tokio::test]
async fn calls_dies_while_a_refused_start_is_undone() {
    let _stack = take_stack().await;
    for failpoint in [
        "calls.undo.before_freed",
        "calls.undo.freed",
        "calls.undo.voided",
        "calls.undo.dropped",
    ] {
        let pair = CallPair::sign_up_without_coins().await;
        arm("calls", failpoint).await;
        let cut_off = pair.request_call().await;
        assert_eq!(cut_off.status, 503, "{failpoint}: {cut_off:?}");
        disarm("calls").await;
        wait_for("the undone start to be gone", || async {
            let refused = pair.request_call().await;
            (refused.status == 400 && refused.body["code"] == "insufficient_coins").then_some(())
        })
        .await;
        assert!(pair.are_both_free().await);
        wait_until_no_start_is_half_done().await;
        assert_eq!(pair.load_coins().await, 0);
        assert_books_are_right().await;
    }
}

/// A call that is ended while `service` dies at `failpoint`: it is settled all the same, once.
async fn kill_at_end(service: &str, failpoint: &str) {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    arm(service, failpoint).await;
    // A call may have begun another minute while the service restarted.
    let cut_off = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(cut_off.status, 503, "{failpoint}: {cut_off:?}");
    disarm(service).await;
    end_if_live(&pair).await;
    wait_for("both free", || async {
        pair.are_both_free().await.then_some(())
    })
    .await;
    assert_settled_exactly(&pair, failpoint).await;
}

async fn end_if_live(pair: &CallPair) {
    if let Some(call_id) = live_call(pair).await {
        let ended = pair.end_call(&pair.caller, call_id).await;
        assert!([200, 404].contains(&ended.status), "{ended:?}");
    }
}

/// The listener has earned one rupee for every ten coins that the caller spent, and something.
async fn assert_settled_exactly(pair: &CallPair, failpoint: &str) {
    wait_for("the settlement", || async {
        let spent = RECHARGED_COINS - pair.load_coins().await;
        let earned = pair.load_earned().await.as_i64();
        (spent > 0 && earned == Some(spent / RATE_COINS)).then_some(())
    })
    .await;
    assert!(
        (RECHARGED_COINS - pair.load_coins().await) % RATE_COINS == 0,
        "{failpoint}"
    );
    assert_books_are_right().await;
}

#[tokio::test]
async fn calls_dies_at_every_step_of_an_end() {
    let _stack = take_stack().await;
    for failpoint in [
        "calls.end.before_settling",
        "calls.end.settling",
        "calls.settle.decided",
        "calls.settle.settled",
        "calls.settle.before_closed",
        "calls.settle.closed",
    ] {
        kill_at_end("calls", failpoint).await;
    }
}

#[tokio::test]
async fn wallet_dies_around_the_commit_of_a_settlement() {
    let _stack = take_stack().await;
    for failpoint in ["wallet.settle.before_commit", "wallet.settle.committed"] {
        kill_at_end("wallet", failpoint).await;
    }
}

#[tokio::test]
async fn calls_dies_at_every_step_of_a_minute() {
    let _stack = take_stack().await;
    for failpoint in [
        "calls.bill.charged",
        "calls.bill.before_recorded",
        "calls.bill.recorded",
    ] {
        let pair = CallPair::sign_up().await;
        pair.start_call().await;
        arm_and_await_death("calls", failpoint).await;
        disarm("calls").await;
        wait_for("another minute to be billed", || async {
            let ongoing = pair.load_ongoing_call(&pair.caller).await;
            (ongoing["coins_spent"].as_i64() > Some(RATE_COINS)).then_some(())
        })
        .await;
        end_if_live(&pair).await;
        assert_settled_exactly(&pair, failpoint).await;
    }
}

/// The sweeper bills by itself, so the service dies without a request.
async fn arm_and_await_death(service: &str, failpoint: &str) {
    arm(service, failpoint).await;
    wait_for("the service to die", || async {
        is_dead(service).await.then_some(())
    })
    .await;
}

pub(crate) async fn is_dead(service: &str) -> bool {
    let ops_url = talktime_tests::read_variable(&format!("{}_OPS_URL", service.to_uppercase()));
    reqwest::get(format!("{ops_url}/livez")).await.is_err()
}
