//! Calls make their parties busy until they end.

use futures::future::join_all;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallEnded, CallHungUp, CallStarted};
use talktime_proto::presence::v1::presence_service_server::PresenceService;
use talktime_proto::presence::v1::{self as pb, call_change};
use tonic::{Code, Request};

use crate::{ASHA, Presence, RAVI, answer, refusal};

const BOTH: [i64; 2] = [ASHA, RAVI];

fn started(call_id: i64) -> Kind {
    Kind::CallStarted(CallStarted {
        call_id,
        user_id: ASHA,
        listener_id: RAVI,
        wait_time: 30,
        ..CallStarted::default()
    })
}

fn ended(call_id: i64) -> Kind {
    Kind::CallEnded(CallEnded {
        call_id,
        user_id: ASHA,
        listener_id: RAVI,
        ..CallEnded::default()
    })
}

async fn busy(presence: &Presence) -> Vec<(bool, Option<i32>)> {
    let request = pb::GetStatusesRequest {
        user_ids: BOTH.to_vec(),
    };
    let found = answer(presence.api.get_statuses(Request::new(request)).await).expect("found");
    let both = found.statuses.into_iter();
    both.map(|status| (status.is_busy, status.wait_time))
        .collect()
}

#[tokio::test]
async fn both_parties_are_busy_with_a_call_and_free_after_it() {
    let presence = Presence::start_with_two_users().await;
    presence.begin_call(7, &BOTH).await;
    assert_eq!(busy(&presence).await, [(true, Some(30)); 2]);
    presence.end_call(7, &BOTH).await;
    assert_eq!(busy(&presence).await, [(false, None); 2]);

    let events = presence.published_events(ASHA).await;
    let busy: Vec<bool> = events.iter().map(|(_, status)| status.is_busy).collect();
    assert_eq!(busy, [false, true, false], "registered, on a call, free");
}

#[tokio::test]
async fn the_second_report_of_a_call_changes_nothing() {
    let presence = Presence::start_with_two_users().await;
    presence.begin_call(7, &BOTH).await;
    presence.handle_event(1, started(7)).await;
    presence.begin_call(7, &BOTH).await;
    presence.handle_event(2, ended(7)).await;
    presence.end_call(7, &BOTH).await;
    for user_id in BOTH {
        assert_eq!(presence.published_versions(user_id).await, [1, 2, 3]);
        assert_eq!(presence.status(user_id).await.expect("known").version, 3);
    }
}

#[tokio::test]
async fn parties_are_free_as_soon_as_they_hang_up() {
    let presence = Presence::start_with_two_users().await;
    presence.handle_event(1, started(7)).await;
    let hung_up = Kind::CallHungUp(CallHungUp {
        call_id: 7,
        user_id: ASHA,
        listener_id: RAVI,
        ..CallHungUp::default()
    });
    presence.handle_event(2, hung_up).await;
    assert_eq!(busy(&presence).await, [(false, None); 2]);
    let versions = presence.published_versions(ASHA).await;
    presence.handle_event(3, ended(7)).await;
    assert_eq!(presence.published_versions(ASHA).await, versions);
}

#[tokio::test]
async fn a_call_whose_end_arrives_before_its_start_leaves_both_parties_free() {
    let presence = Presence::start_with_two_users().await;
    presence.end_call(7, &BOTH).await;
    presence.begin_call(7, &BOTH).await;
    presence.handle_event(1, started(7)).await;
    assert_eq!(busy(&presence).await, [(false, None); 2]);
    assert_eq!(presence.published_versions(ASHA).await, [1]);
}

#[tokio::test]
async fn a_late_end_does_not_end_the_next_call() {
    let presence = Presence::start_with_two_users().await;
    presence.begin_call(7, &BOTH).await;
    presence.begin_call(8, &BOTH).await;
    presence.handle_event(2, ended(7)).await;
    assert_eq!(busy(&presence).await, [(true, Some(30)); 2]);
    presence.end_call(8, &BOTH).await;
    assert_eq!(busy(&presence).await, [(false, None); 2]);
}

#[tokio::test]
async fn a_call_may_be_reported_before_its_parties_are_registered() {
    let presence = Presence::start().await;
    presence.begin_call(7, &BOTH).await;
    assert_eq!(busy(&presence).await, [(true, Some(30)); 2]);
    presence
        .handle_event(1, crate::registered(ASHA, "asha"))
        .await;
    let asha = presence.status(ASHA).await.expect("known");
    assert_eq!((asha.username.as_str(), asha.is_busy), ("asha", true));
}

#[tokio::test]
async fn a_user_cannot_clear_the_busy_flag_of_a_call() {
    let presence = Presence::start_with_two_users().await;
    presence.begin_call(7, &BOTH).await;
    let request = pb::UpdateStatusRequest {
        user_id: RAVI,
        is_busy: Some(false),
        ..pb::UpdateStatusRequest::default()
    };
    let ravi = answer(presence.api.update_status(Request::new(request)).await).expect("answered");
    assert!(ravi.is_busy);
}

#[tokio::test]
async fn calls_of_the_same_people_at_once_end_with_everyone_free() {
    let presence = Presence::start_with_two_users().await;
    let calls = (1..=40).map(|call_id| {
        let (presence, mut parties) = (&presence, BOTH);
        // Half of the calls list the parties in the other order. Locking in the given order would deadlock.
        parties.rotate_left(usize::from(call_id % 2 == 0));
        async move {
            presence.begin_call(call_id, &parties).await;
            presence.end_call(call_id, &parties).await;
        }
    });
    join_all(calls).await;
    assert_eq!(busy(&presence).await, [(false, None); 2]);
    let versions = presence.published_versions(ASHA).await;
    let counted: Vec<i64> = (1..).take(versions.len()).collect();
    assert_eq!(
        versions, counted,
        "each version is published once, in order"
    );
}

#[tokio::test]
async fn changes_of_several_calls_are_applied_together_and_in_order() {
    let presence = Presence::start_with_two_users().await;
    let change = |call_id, change| pb::CallChange {
        call_id,
        user_ids: BOTH.to_vec(),
        change: Some(change),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
    };
    let call_began = |minutes| {
        call_change::Change::Began(pb::CallBegan {
            wait_time: Some(minutes),
        })
    };
    let ended = call_change::Change::Ended(pb::CallEnded {});
    let changes = vec![
        change(7, call_began(3)),
        change(7, ended),
        change(8, call_began(5)),
    ];
    let request = Request::new(pb::FollowCallsRequest { changes });
    answer(presence.api.follow_calls(request).await).expect("followed");
    assert_eq!(busy(&presence).await, [(true, Some(5)); 2]);
    let traces: Vec<String> = sqlx::query_scalar(
        "SELECT traceparent FROM presence.outbox WHERE traceparent LIKE '%0af7651916cd43dd8448eb211c80319c%'",
    )
    .fetch_all(&presence.database.app_pool)
    .await
    .expect("readable");
    assert_eq!(traces.len(), 6, "each change belongs to the trace it names");
}

#[tokio::test]
async fn a_call_without_parties_or_change_is_refused() {
    let presence = Presence::start_with_two_users().await;
    let ended = call_change::Change::Ended(pb::CallEnded {});
    let refused = presence.follow(7, &[], ended).await;
    let invalid = refusal(Code::InvalidArgument, "invalid_call");
    assert_eq!(refused.expect_err("no parties"), invalid);
    let request = Request::new(pb::FollowCallsRequest {
        changes: vec![pb::CallChange {
            call_id: 7,
            user_ids: BOTH.to_vec(),
            ..pb::CallChange::default()
        }],
    });
    let refused = answer(presence.api.follow_calls(request).await);
    assert_eq!(refused.expect_err("no change"), invalid);
}
