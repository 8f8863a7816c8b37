//! Calls that nobody took, in lists.

use serde_json::{Value, json};
use talktime_client::AppUser;
use talktime_tests::ExpectAnswer;

use super::RingingPair;
use crate::{assert_fields, assert_problem};

async fn list(ringing: &RingingPair, person: &AppUser, query: &str) -> Value {
    let path = format!("/calls/unanswered{query}");
    let listed = ringing.pair.app.get(&path).as_user(person).answer().await;
    assert_eq!(listed.status, 200, "{listed:?}");
    listed.body
}

#[tokio::test]
async fn unanswered_calls_are_listed_for_both_and_seen_once() {
    let ringing = RingingPair::sign_up().await;
    let (caller, listener) = (&ringing.pair.caller, &ringing.pair.listener);
    let first = ringing.start_ring().await;
    assert_eq!(
        ringing
            .reject(first, &json!({"reason": "later"}))
            .await
            .status,
        200
    );
    let second = ringing.start_ring().await;
    assert_eq!(ringing.cancel(second).await.status, 200);

    for (person, peer, direction) in [
        (caller, listener, "outgoing"),
        (listener, caller, "incoming"),
    ] {
        let listed = list(&ringing, person, "").await;
        let calls = listed["calls"].as_array().expect("calls");
        let found: Vec<(&Value, &Value, &Value)> = calls
            .iter()
            .map(|call| (&call["call_id"], &call["outcome"], &call["reason"]))
            .collect();
        let newest_first = [
            (&json!(second), &json!("cancelled"), &json!("hung_up")),
            (&json!(first), &json!("rejected"), &json!("later")),
        ];
        assert_eq!(found, newest_first, "{listed}");
        for call in calls {
            assert_eq!(call["direction"], direction, "{call}");
            assert_eq!(call["peer"]["user_id"], peer.user_id, "{call}");
            assert_eq!(call["peer"]["username"], peer.username, "{call}");
            assert_fields(call, &["call_type", "rung_at", "rung_seconds"]);
        }
        let other = if direction == "incoming" {
            "outgoing"
        } else {
            "incoming"
        };
        let none = list(&ringing, person, &format!("?direction={other}")).await;
        assert_eq!((&none["calls"], &none["total"]), (&json!([]), &json!(0)));
        let page = list(&ringing, person, "?per_page=1&page=2").await;
        assert_eq!(page["calls"][0]["call_id"], first, "{page}");
        assert_eq!(
            (&page["total"], &page["has_next"]),
            (&json!(2), &json!(false))
        );
    }

    let count_unseen = async || list(&ringing, listener, "").await["unseen_count"].clone();
    assert_eq!(
        count_unseen().await,
        1,
        "the listener has seen what they rejected"
    );
    assert_eq!(count_unseen().await, 1, "a read marks nothing as seen");
    let seen = ringing
        .pair
        .app
        .post("/calls/unanswered/seen")
        .as_user(listener);
    assert_eq!(seen.answer().await.body, json!({"unseen_count": 0}));
    assert_eq!(count_unseen().await, 0);
    let of_caller = list(&ringing, caller, "").await;
    assert_eq!(of_caller["unseen_count"], 0, "nobody rang for the caller");
}

#[tokio::test]
async fn unanswered_calls_are_no_calls_of_the_history() {
    let ringing = RingingPair::sign_up().await;
    let call_id = ringing.start_ring().await;
    let history = async || {
        let request = ringing.pair.app.get("/calls/history");
        request.as_user(&ringing.pair.caller).answer().await.body
    };
    assert_eq!(history().await["total_calls"], 0);
    assert_eq!(ringing.cancel(call_id).await.status, 200);
    assert_eq!(history().await["total_calls"], 0);
    let summary = ringing.pair.app.get("/calls/history/summary");
    let summary = summary.as_user(&ringing.pair.listener).answer().await;
    assert_eq!(summary.body["total_calls"], 0, "{summary:?}");
}

#[tokio::test]
async fn an_unknown_direction_is_refused() {
    let ringing = RingingPair::sign_up_without_coins().await;
    let request = ringing.pair.app.get("/calls/unanswered?direction=up");
    let refused = request.as_user(&ringing.pair.caller).answer().await;
    assert_problem(&refused, 400, "invalid_direction");
}
