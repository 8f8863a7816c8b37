//! Requests about one ring that arrive at the same time, of which only one may succeed.

use futures::future::join_all;
use serde_json::json;
use talktime_client::{ApiAnswer, UserRole};
use talktime_tests::{ExpectAnswer, assert_books_are_right, wait_for};

use super::{COINS, RingingPair, accept, ring};

const AT_ONCE: usize = 20;
const ROUNDS: usize = 6;

fn count(answers: &[ApiAnswer], status: u16, code: &str) -> usize {
    let is_expected = |answer: &&ApiAnswer| answer.status == status && answer.code() == code;
    answers.iter().filter(is_expected).count()
}

#[tokio::test]
async fn one_of_twenty_concurrent_rings_of_a_listener_succeeds() {
    let ringing = RingingPair::sign_up().await;
    let app = &ringing.pair.app;
    let mut callers = Vec::new();
    for _ in 0..AT_ONCE {
        let caller = app.sign_up(UserRole::User).await;
        let recharge = app.post("/calls/recharge").as_user(&caller);
        let body = json!({"amount_rupees": 150, "payment_method": "upi"});
        let recharged = recharge.header("idempotency-key", "ring").json(&body);
        assert_eq!(recharged.answer().await.status, 200);
        callers.push(caller);
    }
    let rings = callers
        .iter()
        .map(|caller| ring(app, caller, &ringing.pair.listener, "audio"));
    let answers = join_all(rings).await;
    let rung: Vec<usize> = (0..AT_ONCE)
        .filter(|index| answers[*index].status == 200)
        .collect();
    assert_eq!(rung.len(), 1, "{answers:?}");
    let refused = count(&answers, 409, "on_a_call");
    let unavailable = answers.iter().filter(|answer| answer.status == 503).count();
    assert_eq!(refused + unavailable, AT_ONCE - 1, "{answers:?}");
    let call_id = answers[rung[0]].body["call_id"].as_i64().expect("an id");
    let accepted = ringing.accept(call_id).await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    let ended = ringing.pair.end_call(&ringing.pair.listener, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    assert_books_are_right().await;
}

#[tokio::test]
async fn one_of_two_users_who_ring_each_other_at_once_succeeds() {
    let ringing = RingingPair::sign_up_without_coins().await;
    let app = &ringing.pair.app;
    let other = app.sign_up(UserRole::Listener).await;
    let (asha, devi) = (&ringing.pair.listener, &other);
    for person in [asha, devi] {
        let recharge = app.post("/calls/recharge").as_user(person);
        let body = json!({"amount_rupees": 150, "payment_method": "upi"});
        let recharged = recharge.header("idempotency-key", "ring").json(&body);
        assert_eq!(recharged.answer().await.status, 200);
    }
    let (one, two) = tokio::join!(
        ring(app, asha, devi, "audio"),
        ring(&ringing.listener_gateway, devi, asha, "audio")
    );
    let answers = [one, two];
    let rung: Vec<&ApiAnswer> = answers.iter().filter(|one| one.status == 200).collect();
    assert_eq!(rung.len(), 1, "{answers:?}");
    let refused = answers.iter().find(|one| one.status != 200).expect("one");
    assert!(
        ["incoming_call", "on_a_call"].contains(&refused.code()) || refused.status == 503,
        "{refused:?}"
    );
    if refused.code() == "incoming_call" {
        assert_eq!(refused.body["call_id"], rung[0].body["call_id"]);
    }
}

#[tokio::test]
async fn one_of_two_devices_that_accept_at_once_succeeds() {
    let ringing = RingingPair::sign_up().await;
    let tablet = ringing.pair.app.log_in_again(&ringing.pair.listener).await;
    let call_id = ringing.start_ring().await;
    let acceptances = (0..AT_ONCE).map(|index| {
        let (gateway, device) = if index % 2 == 0 {
            (&*ringing.pair.app, &ringing.pair.listener)
        } else {
            (&ringing.listener_gateway, &tablet)
        };
        accept(gateway, device, call_id)
    });
    let answers = join_all(acceptances).await;
    let answers_to_device = |parity: usize| {
        let answers = answers.iter().enumerate();
        answers
            .filter(move |(index, _)| index % 2 == parity)
            .map(|(_, answer)| answer.clone())
            .collect::<Vec<_>>()
    };
    let (phone, tablet) = (answers_to_device(0), answers_to_device(1));
    let winners = [&phone, &tablet].map(|device| device.iter().any(|one| one.status == 200));
    assert!(winners[0] ^ winners[1], "one device: {answers:?}");
    let loser = if winners[0] { &tablet } else { &phone };
    for refused in loser {
        assert!(
            refused.code() == "accepted_elsewhere" || refused.status == 503,
            "{refused:?}"
        );
    }
    assert_eq!(ringing.pair.load_coins().await, COINS - 10, "charged once");
    assert_eq!(
        ringing
            .pair
            .end_call(&ringing.pair.caller, call_id)
            .await
            .status,
        200
    );
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_ring_is_accepted_or_over_and_never_both() {
    for round in 0..ROUNDS {
        let ringing = RingingPair::sign_up().await;
        let call_id = ringing.start_ring().await;
        let body = json!({});
        let (accepted, other) = if round % 2 == 0 {
            tokio::join!(ringing.accept(call_id), ringing.cancel(call_id))
        } else {
            tokio::join!(ringing.accept(call_id), ringing.reject(call_id, &body))
        };
        assert_ne!(
            (accepted.status, other.status),
            (200, 200),
            "{accepted:?} {other:?}"
        );
        assert!(accepted.status != 503 && other.status != 503, "{other:?}");
        if accepted.status == 200 {
            assert_eq!(other.code(), "ring_over", "{other:?}");
            let ended = ringing.pair.end_call(&ringing.pair.caller, call_id).await;
            assert_eq!(ended.status, 200, "{ended:?}");
            assert!(ringing.pair.load_coins().await < COINS);
        } else {
            assert_eq!(other.status, 200, "{other:?}");
            assert_eq!(accepted.code(), "ring_over", "{accepted:?}");
            assert_eq!(ringing.pair.load_coins().await, COINS);
        }
        wait_for("both to be free", || async {
            ringing.pair.are_both_free().await.then_some(())
        })
        .await;
    }
    assert_books_are_right().await;
}
