//! The statement that turns calls live, for people who may talk and people who may not.

use talktime_calls::SCHEMA;
use talktime_calls::domain::steps::{self, MinuteChargeOutcome};
use talktime_calls::store::calls::LiveStart;
use talktime_calls::store::{barred_pairs, calls, deleted_users, reservations};
use talktime_kit::messaging::outbox::OutboxColumns;
use talktime_kit::testing::TestDatabase;

use crate::agreement::{LEASE_SECS, new_call};

/// An event of each of these calls.
fn events_of(call_ids: &[i64]) -> OutboxColumns {
    OutboxColumns {
        subjects: vec!["events.calls.call_started"; call_ids.len()],
        aggregate_ids: call_ids.to_vec(),
        payloads: vec![vec![]; call_ids.len()],
        traceparents: vec![None; call_ids.len()],
    }
}

#[tokio::test]
async fn a_start_goes_live_and_is_reported_only_between_people_who_may_talk() {
    let database = TestDatabase::new(SCHEMA).await;
    for (parties, may_talk) in [
        ((1, 2), false),
        ((2, 3), false),
        ((3, 4), true),
        ((5, 4), false),
    ] {
        let mut tx = database.app.begin().await.expect("begun");
        let new = new_call(parties, None);
        let reserved = reservations::reserve(&mut tx, &[&new], LEASE_SECS)
            .await
            .expect("answered");
        let call = reserved
            .into_iter()
            .next()
            .flatten()
            .expect("nobody is barred yet");
        deleted_users::bar_user(&mut tx, 1, None)
            .await
            .expect("barred");
        deleted_users::bar_user(&mut tx, 2, Some(30.0))
            .await
            .expect("barred");
        deleted_users::bar_user(&mut tx, 3, Some(-1.0))
            .await
            .expect("barred");
        barred_pairs::bar_pair(&mut tx, [4, 5], 30.0)
            .await
            .expect("barred");
        barred_pairs::bar_pair(&mut tx, [4, 3], 30.0)
            .await
            .expect("barred");
        barred_pairs::unbar_pair(&mut tx, [3, 4])
            .await
            .expect("lifted");
        let charge = MinuteChargeOutcome::Paid {
            balance_coins: 0,
            bonus_coins: 0,
        };
        let minute = steps::evaluate_first_charge(&call, charge).expect("paid");
        let live = calls::go_live(
            &mut tx,
            &[LiveStart {
                call_id: call.call_id,
                minute,
                flows_since: None,
            }],
            events_of(&[call.call_id, call.call_id + 1]),
        )
        .await;
        assert_eq!(
            live.expect("answered").len(),
            usize::from(may_talk),
            "{parties:?}"
        );
        let reported: Vec<i64> = sqlx::query_scalar("SELECT aggregate_id FROM calls.outbox")
            .fetch_all(&mut *tx)
            .await
            .expect("readable");
        let live_ids = may_talk.then_some(call.call_id);
        assert_eq!(reported, Vec::from_iter(live_ids), "{parties:?}");
        tx.rollback().await.expect("rolled back");
    }
}
