//! `kill -9` at every step: nothing is lost, nothing happens twice, nobody stays busy.
//!
//! A service that is started with `TALKTIME_FAILPOINT` dies when it reaches that point. Then it is started
//! without it, and must finish or undo what the dead process has left.

use futures::future::join_all;
use sqlx::{Connection, PgConnection};
use talktime_tests::{
    CallPair, WAIT_MAX, assert_books_are_right, read_variable, run_dev, wait_for,
};

use crate::lock_stack;

const RATE_COINS: i64 = 10;
const RECHARGED_COINS: i64 = 300;

pub(crate) async fn arm_failpoint(service: &str, failpoint: &str) {
    let variable = format!("TALKTIME_FAILPOINT={failpoint}");
    run_dev(&["restart", service, "--no-build", "--env", &variable]).await;
}

pub(crate) async fn disarm_failpoint(service: &str) {
    run_dev(&["restart", service, "--no-build"]).await;
}

/// Asserts that a ring has led to no call in this way, and has left nothing behind.
async fn assert_unanswered(pair: &CallPair, call_id: i64, outcome: &str, reason: &str) {
    let state = pair.wait_until_unanswered(call_id).await;
    assert_eq!(
        (&state["outcome"], &state["reason"]),
        (&outcome.into(), &reason.into()),
        "{state}"
    );
    let database = PgConnection::connect(&read_variable("DATABASE_URL")).await;
    let held: i64 =
        sqlx::query_scalar("SELECT count(*) FROM calls.live_parties WHERE call_id = $1")
            .bind(call_id)
            .fetch_one(&mut database.expect("connected"))
            .await
            .expect("counted");
    assert_eq!(held, 0, "parties of an unanswered call");
    assert_eq!(pair.load_coins().await, RECHARGED_COINS);
    assert_books_are_right().await;
}

/// Returns the id of the caller's live call.
async fn find_live_call(pair: &CallPair) -> Option<i64> {
    pair.load_ongoing_call(&pair.caller).await["call_id"].as_i64()
}

/// Waits until no start is unfinished. The sweeper drops the row of an undone start once its lease ends, and
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

/// Asserts that an interrupted start has either led to a call that was paid once and can be ended, or left
/// nothing behind. Afterwards both people are free and can start another call.
async fn assert_finished_or_undone(pair: &CallPair) {
    let coins = wait_for("the start to be finished or undone", || async {
        let coins = pair.load_coins().await;
        match find_live_call(pair).await {
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

    // A start that was killed keeps both people busy until its lease ends.
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

/// Requests a call while a service dies at `failpoint`; returns its parties.
async fn kill_at_start(service: &str, failpoint: &str) -> CallPair {
    let pair = CallPair::sign_up().await;
    arm_failpoint(service, failpoint).await;
    let cut_off = pair.request_call().await;
    assert!(
        [200, 503].contains(&cut_off.status),
        "{failpoint}: {cut_off:?}"
    );
    disarm_failpoint(service).await;
    pair
}

#[tokio::test]
async fn a_start_survives_a_kill_of_calls_at_every_step() {
    let _stack = lock_stack().await;
    let mut pairs = vec![];
    for failpoint in [
        "calls.start.before_reserved",
        "calls.start.reserved",
        "calls.start.charged",
        "calls.start.before_active",
        "calls.start.active",
    ] {
        pairs.push(kill_at_start("calls", failpoint).await);
    }
    // The dead processes have left starts that are finished when their leases end, at about the same time.
    join_all(pairs.iter().map(assert_finished_or_undone)).await;
}

#[tokio::test]
async fn a_start_survives_a_kill_of_the_wallet_around_its_charge() {
    let _stack = lock_stack().await;
    for failpoint in ["wallet.charge.before_commit", "wallet.charge.committed"] {
        wait_until_no_start_is_half_done().await;
        let pair = kill_at_start("wallet", failpoint).await;
        assert_finished_or_undone(&pair).await;
    }
}

#[tokio::test]
async fn a_start_survives_a_kill_of_presence_around_its_update() {
    let _stack = lock_stack().await;
    for failpoint in ["presence.call.before_commit", "presence.call.committed"] {
        wait_until_no_start_is_half_done().await;
        let pair = kill_at_start("presence", failpoint).await;
        assert_finished_or_undone(&pair).await;
    }
}

#[tokio::test]
async fn an_undo_survives_a_kill_of_calls_at_every_step() {
    let _stack = lock_stack().await;
    for failpoint in [
        "calls.undo.before_freed",
        "calls.undo.freed",
        "calls.undo.voided",
        "calls.undo.dropped",
    ] {
        let pair = CallPair::sign_up_without_coins().await;
        arm_failpoint("calls", failpoint).await;
        let cut_off = pair.request_call().await;
        assert_eq!(cut_off.status, 503, "{failpoint}: {cut_off:?}");
        disarm_failpoint("calls").await;
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

#[tokio::test]
async fn a_ring_survives_a_kill_of_calls_after_its_commit() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    let mut socket = pair.app.open_socket("/ws/calls", &pair.listener).await;
    arm_failpoint("calls", "calls.ring.reserved").await;
    let cut_off = pair.request_ring("cut off").await;
    assert_eq!(cut_off.status, 503, "{cut_off:?}");
    disarm_failpoint("calls").await;
    let rings = socket.receive_type("call_ringing", WAIT_MAX).await;
    let call_id = rings.expect("the listener gets the ring")["data"]["call_id"].clone();
    let repeated = pair.request_ring("cut off").await;
    assert_eq!(
        (repeated.status, &repeated.body["call_id"]),
        (200, &call_id),
        "{repeated:?}"
    );
    let call_id = call_id.as_i64().expect("an id");
    assert_unanswered(&pair, call_id, "unreachable", "not_reached").await;
}

#[tokio::test]
async fn an_end_of_a_ring_survives_a_kill_of_calls_before_its_commit() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    arm_failpoint("calls", "calls.ring.before_ended").await;
    let call_id = pair.start_ring().await;
    let cut_off = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(cut_off.status, 503, "{cut_off:?}");
    disarm_failpoint("calls").await;
    let ended = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_unanswered(&pair, call_id, "cancelled", "hung_up").await;
}

/// Accepts a ring while calls dies at `failpoint`; returns the id of the call.
async fn kill_at_accept(pair: &CallPair, failpoint: &str) -> i64 {
    arm_failpoint("calls", failpoint).await;
    let call_id = pair.start_ring().await;
    let cut_off = pair.accept_ring(call_id).await;
    assert_eq!(cut_off.status, 503, "{failpoint}: {cut_off:?}");
    disarm_failpoint("calls").await;
    call_id
}

#[tokio::test]
async fn an_accept_that_nobody_repeats_is_undone_after_a_kill_of_calls() {
    let _stack = lock_stack().await;
    let mut cut_off = vec![];
    for failpoint in [
        "calls.accept.reserved",
        "calls.accept.charged",
        "calls.start.before_active",
    ] {
        let pair = CallPair::sign_up().await;
        let call_id = kill_at_accept(&pair, failpoint).await;
        cut_off.push((pair, call_id));
    }
    let undone = cut_off
        .iter()
        .map(|(pair, call_id)| assert_unanswered(pair, *call_id, "failed", "server"));
    join_all(undone).await;
}

#[tokio::test]
async fn an_accept_that_its_device_repeats_survives_a_kill_of_calls_at_every_step() {
    let _stack = lock_stack().await;
    for failpoint in [
        "calls.accept.reserved",
        "calls.accept.charged",
        "calls.start.before_active",
        "calls.start.active",
    ] {
        let pair = CallPair::sign_up().await;
        let call_id = kill_at_accept(&pair, failpoint).await;
        let accepted = pair.accept_ring(call_id).await;
        if accepted.status == 200 {
            let ended = pair.end_call(&pair.caller, call_id).await;
            assert_eq!(ended.status, 200, "{failpoint}: {ended:?}");
            assert_settled_exactly(&pair, failpoint).await;
        } else {
            // On a busy machine the restart outlasts the lease, and the accept is undone as if not repeated.
            assert_eq!(accepted.code(), "ring_over", "{failpoint}: {accepted:?}");
            assert_unanswered(&pair, call_id, "failed", "server").await;
        }
    }
}

#[tokio::test]
async fn the_undo_of_an_accept_survives_a_kill_of_calls_at_every_step() {
    let _stack = lock_stack().await;
    for failpoint in [
        "calls.undo.before_freed",
        "calls.undo.freed",
        "calls.undo.voided",
        "calls.undo.dropped",
    ] {
        let pair = CallPair::sign_up().await;
        arm_failpoint("calls", failpoint).await;
        let call_id = pair.start_ring().await;
        pair.spend_all_coins().await;
        let cut_off = pair.accept_ring(call_id).await;
        assert_eq!(cut_off.status, 503, "{failpoint}: {cut_off:?}");
        disarm_failpoint("calls").await;
        let state = pair.wait_until_unanswered(call_id).await;
        assert_eq!(state["outcome"], "failed", "{failpoint}: {state}");
        assert_eq!(pair.load_coins().await, 0, "{failpoint}");
        wait_until_no_start_is_half_done().await;
        assert_books_are_right().await;
    }
}

/// Ends a call while `service` dies at `failpoint`, and asserts that it is settled once.
async fn kill_at_end(service: &str, failpoint: &str) {
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    arm_failpoint(service, failpoint).await;
    // Another minute may have begun during the restart.
    let cut_off = pair.end_call(&pair.caller, call_id).await;
    assert_eq!(cut_off.status, 503, "{failpoint}: {cut_off:?}");
    disarm_failpoint(service).await;
    end_if_live(&pair).await;
    wait_for("both free", || async {
        pair.are_both_free().await.then_some(())
    })
    .await;
    assert_settled_exactly(&pair, failpoint).await;
}

async fn end_if_live(pair: &CallPair) {
    if let Some(call_id) = find_live_call(pair).await {
        let ended = pair.end_call(&pair.caller, call_id).await;
        assert!([200, 404].contains(&ended.status), "{ended:?}");
    }
}

/// Asserts that the listener has earned one rupee for every ten coins that the caller spent.
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
async fn an_end_survives_a_kill_of_calls_at_every_step() {
    let _stack = lock_stack().await;
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
async fn an_end_survives_a_kill_of_the_wallet_around_its_settlement() {
    let _stack = lock_stack().await;
    for failpoint in ["wallet.settle.before_commit", "wallet.settle.committed"] {
        kill_at_end("wallet", failpoint).await;
    }
}

#[tokio::test]
async fn a_minute_survives_a_kill_of_calls_at_every_step() {
    let _stack = lock_stack().await;
    for failpoint in [
        "calls.bill.charged",
        "calls.bill.before_recorded",
        "calls.bill.recorded",
    ] {
        let pair = CallPair::sign_up().await;
        pair.start_call().await;
        arm_and_wait_for_death("calls", failpoint).await;
        disarm_failpoint("calls").await;
        wait_for("another minute to be billed", || async {
            let ongoing = pair.load_ongoing_call(&pair.caller).await;
            (ongoing["coins_spent"].as_i64() > Some(RATE_COINS)).then_some(())
        })
        .await;
        end_if_live(&pair).await;
        assert_settled_exactly(&pair, failpoint).await;
    }
}

/// Arms a failpoint of the sweeper, at which the service dies without a request.
async fn arm_and_wait_for_death(service: &str, failpoint: &str) {
    arm_failpoint(service, failpoint).await;
    wait_for("the service to die", || async {
        is_dead(service).await.then_some(())
    })
    .await;
}

pub(crate) async fn is_dead(service: &str) -> bool {
    let ops_url = talktime_tests::read_variable(&format!("{}_OPS_URL", service.to_uppercase()));
    reqwest::get(format!("{ops_url}/livez")).await.is_err()
}
