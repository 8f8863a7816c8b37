//! Calls that ring while parts are down, frozen, or gone with a user's phone.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use talktime_client::ApiAnswer;
use talktime_tests::replica::{start_calls_replica_with, start_gateway};
use talktime_tests::{
    CallPair, ExpectAnswer, WAIT_MAX, assert_books_are_right, read_variable, run_dev, wait_for,
};

use crate::lock_stack;
use crate::silent::FrozenComponent;

const RECHARGED_COINS: i64 = 300;
const RATE_COINS: i64 = 10;

/// The way in which a component fails while a test goes on.
#[derive(Clone, Copy, Debug)]
enum ComponentFault {
    /// Its processes are dead, so connections are refused.
    Dead,
    /// Its processes do not run, so requests are never answered.
    Frozen,
}

const FAULTS: [ComponentFault; 2] = [ComponentFault::Dead, ComponentFault::Frozen];

/// Runs `work` while the component fails, and restores the component.
async fn run_without<T>(
    component: &str,
    fault: ComponentFault,
    work: impl AsyncFnOnce() -> T,
) -> T {
    match fault {
        ComponentFault::Dead => {
            run_dev(&["kill", component]).await;
            let result = work().await;
            run_dev(&["start", component]).await;
            result
        }
        ComponentFault::Frozen => {
            let _frozen = FrozenComponent::freeze(component).await;
            work().await
        }
    }
}

fn assert_ring_over(refused: &ApiAnswer, outcome: &str) {
    assert_eq!(
        (refused.status, refused.code(), &refused.body["outcome"]),
        (409, "ring_over", &json!(outcome)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_ring_that_no_device_hears_of_while_nats_is_down_ends_as_unreachable() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    run_dev(&["stop", "nats"]).await;
    let call_id = pair.start_ring().await;
    let path = format!("/calls/{call_id}/state");
    let state = wait_for("the ring to end", || async {
        let state = pair.app.get(&path).as_user(&pair.caller).answer().await;
        (state.body["status"] == "unanswered").then_some(state.body)
    })
    .await;
    assert_eq!(state["outcome"], "unreachable", "{state}");
    assert_eq!(pair.load_coins().await, RECHARGED_COINS, "nothing was paid");
    assert_ring_over(&pair.accept_ring(call_id).await, "unreachable");

    // Afterwards calls ring as before.
    run_dev(&["start", "nats"]).await;
    let mut socket = pair.app.open_socket("/ws/calls", &pair.listener).await;
    socket.receive_type("hello", WAIT_MAX).await.expect("hello");
    let second = pair.start_ring().await;
    let rings = socket.receive_matching("the second ring", WAIT_MAX, |message| {
        message["type"] == "call_ringing" && message["data"]["call_id"] == second
    });
    rings.await.expect("the device gets a message");
    let cancel = pair.app.post(&format!("/calls/{second}/cancel"));
    assert_eq!(cancel.as_user(&pair.caller).answer().await.status, 200);
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_ring_without_presence_profile_or_the_wallet_is_refused_and_leaves_nothing() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up().await;
    for component in ["presence", "profile", "wallet"] {
        for fault in FAULTS {
            let refused =
                run_without(component, fault, async || pair.request_ring("first").await).await;
            assert_eq!(refused.status, 503, "{fault:?} {component}: {refused:?}");
            assert!(refused.header("retry-after").is_some(), "{refused:?}");
            wait_for("both to be free", || async {
                pair.are_both_free().await.then_some(())
            })
            .await;
        }
    }
    let started = pair.request_ring("first").await;
    assert_eq!(
        started.status, 200,
        "the refusals were not kept: {started:?}"
    );
    let call_id = started.body["call_id"].as_i64().expect("an id");
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
}

#[tokio::test]
async fn an_accept_needs_neither_presence_nor_profile_nor_redis_nor_nats() {
    let _stack = lock_stack().await;
    for component in ["presence", "profile", "redis", "nats"] {
        for fault in FAULTS {
            let pair = CallPair::sign_up().await;
            let call_id = pair.start_ring().await;
            let accept = async || pair.accept_ring(call_id).await;
            let accepted = run_without(component, fault, accept).await;
            assert_eq!(accepted.status, 200, "{fault:?} {component}: {accepted:?}");
            let ended = pair.end_call(&pair.listener, call_id).await;
            assert_eq!(ended.status, 200, "{fault:?} {component}: {ended:?}");
            let paid = ended.body["coins_spent"].as_i64().expect("coins");
            assert!(paid >= RATE_COINS, "{ended:?}");
            assert_eq!(pair.load_coins().await, RECHARGED_COINS - paid);
            wait_for("both to be free", || async {
                pair.are_both_free().await.then_some(())
            })
            .await;
        }
    }
    assert_books_are_right().await;
}

#[tokio::test]
async fn an_accept_without_the_wallet_is_undone_and_costs_nothing() {
    let _stack = lock_stack().await;
    for fault in FAULTS {
        let pair = CallPair::sign_up().await;
        let call_id = pair.start_ring().await;
        let accept = async || pair.accept_ring(call_id).await;
        let refused = run_without("wallet", fault, accept).await;
        // The gateway repeats the accept, and may learn in time that it has been undone.
        let is_undone = refused.code() == "ring_over" && refused.body["outcome"] == "failed";
        assert!(refused.status == 503 || is_undone, "{fault:?}: {refused:?}");
        let state = pair.wait_until_unanswered(call_id).await;
        assert_eq!(
            (&state["outcome"], &state["reason"]),
            (&json!("failed"), &json!("wallet_away")),
            "{fault:?}: {state}"
        );
        assert_ring_over(&pair.accept_ring(call_id).await, "failed");
        wait_for("the charge to be returned", || async {
            (pair.load_coins().await == RECHARGED_COINS).then_some(())
        })
        .await;
    }
    assert_books_are_right().await;
}

/// Longest silence of a caller in the next test, in seconds.
const CALLER_SILENCE_SECS: f64 = 2.0;

#[tokio::test]
async fn a_listener_is_not_connected_to_a_caller_whose_phone_has_died() {
    let _stack = lock_stack().await;
    let silence = CALLER_SILENCE_SECS.to_string();
    let settings = [("TALKTIME_CALLS__RINGING__CALLER_SILENCE_SECS", &*silence)];
    let calls = start_calls_replica_with(&settings).await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__PEERS__CALLS", &calls.url)]).await;
    let (dead, alive) = (CallPair::sign_up().await, CallPair::sign_up().await);
    let [dead_id, alive_id] = [dead.start_ring().await, alive.start_ring().await];
    wait_for("the silence to be too long", || async {
        let beat = alive.app.post("/users/me/heartbeat");
        assert_eq!(beat.as_user(&alive.caller).answer().await.status, 200);
        is_silent_for_too_long(&dead).await.then_some(())
    })
    .await;
    let accept = async |pair: &CallPair, call_id| {
        let request = gateway.app.post(&format!("/calls/{call_id}/accept"));
        request.as_user(&pair.listener).answer().await
    };
    assert_ring_over(&accept(&dead, dead_id).await, "cancelled");
    let state = dead.wait_until_unanswered(dead_id).await;
    assert_eq!(state["reason"], "caller_gone", "{state}");
    assert_eq!(dead.load_coins().await, RECHARGED_COINS);
    let accepted = accept(&alive, alive_id).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let ended = alive.end_call(&alive.caller, alive_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_books_are_right().await;
}

/// Whether presence has had no sign of life of the caller for longer than the limit.
async fn is_silent_for_too_long(pair: &CallPair) -> bool {
    let database = PgConnection::connect(&read_variable("DATABASE_URL")).await;
    let silent = sqlx::query_scalar(
        "SELECT last_seen < now() - make_interval(secs => $2)
         FROM presence.user_status WHERE user_id = $1",
    );
    let silent = silent
        .bind(pair.caller.user_id)
        .bind(CALLER_SILENCE_SECS)
        .fetch_one(&mut database.expect("connected"))
        .await;
    silent.expect("a status")
}

/// Stores the answer rate of a listener, as the nightly job does.
async fn store_answer_rate(listener_id: i64, rung: i32, accepted: i32) {
    let database = PgConnection::connect(&read_variable("DATABASE_URL")).await;
    let stored = sqlx::query(
        "INSERT INTO calls.answer_rates (listener_id, rung, accepted, computed_at)
         VALUES ($1, $2, $3, now())
         ON CONFLICT (listener_id) DO UPDATE SET rung = excluded.rung, accepted = excluded.accepted",
    )
    .bind(listener_id)
    .bind(rung)
    .bind(accepted)
    .execute(&mut database.expect("connected"))
    .await;
    stored.expect("stored");
}

/// The comparison of the whole feed would count calls twice that other tests end meanwhile, so this test runs alone.
#[tokio::test]
async fn the_feed_and_the_page_show_the_answer_rate_from_twenty_rings_on() {
    let _stack = lock_stack().await;
    let pair = CallPair::sign_up_without_coins().await;
    let (listener_id, username) = (pair.listener.user_id, &pair.listener.username);
    for (rung, accepted, rate) in [
        (20, 15, json!(0.75)),
        (40, 0, json!(0)),
        (19, 19, Value::Null),
    ] {
        store_answer_rate(listener_id, rung, accepted).await;
        run_dev(&["run", "profile", "rebuild-feed"]).await;
        let page = pair.app.get(&format!("/listeners/{listener_id}"));
        let page = page.as_user(&pair.caller).answer().await;
        assert_eq!(page.body["answer_rate"], rate, "{page:?}");
        let feed = pair.app.get(&format!("/feed/listeners?q={username}"));
        let feed = feed.as_user(&pair.caller).answer().await;
        let listed = &feed.body["listeners"][0];
        assert_eq!(listed["user_id"], listener_id, "{feed:?}");
        assert_eq!(listed["answer_rate"], rate, "{listed}");
    }
}
