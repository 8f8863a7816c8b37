//! The sweep marks silent users offline and clears outdated busy flags.

use talktime_presence::jobs::sweep::StatusSweepCounts;
use talktime_proto::presence::v1 as pb;
use talktime_proto::presence::v1::presence_service_server::PresenceService;
use tonic::Request;

use crate::{ASHA, ONLINE, Presence, RAVI, answer};

const FIVE_MINUTES: i64 = 300;

impl Presence {
    async fn sweep(&self) -> StatusSweepCounts {
        self.sweeper.run_now().await.expect("swept")
    }

    async fn is_online(&self, user_id: i64) -> bool {
        self.status(user_id).await.expect("known").is_online
    }

    async fn set_own_busy(&self, user_id: i64, wait_time: Option<i32>) {
        let request = pb::UpdateStatusRequest {
            user_id,
            is_online: Some(true),
            is_busy: Some(true),
            wait_time,
            ..pb::UpdateStatusRequest::default()
        };
        answer(self.api.update_status(Request::new(request)).await).expect("updated");
    }
}

#[tokio::test]
async fn a_user_without_heartbeats_for_five_minutes_is_offline() {
    let presence = Presence::start_with_two_users().await;
    for user_id in [ASHA, RAVI] {
        presence.heartbeat(user_id).await.expect("stored");
    }
    presence.advance_clock(FIVE_MINUTES - 10);
    presence.heartbeat(ASHA).await.expect("stored");
    assert_eq!(presence.sweep().await, StatusSweepCounts::default());
    presence.advance_clock(11);
    let counts = presence.sweep().await;
    assert_eq!((counts.marked_offline, counts.busy_cleared), (1, 0));
    assert!(presence.is_online(ASHA).await);
    assert!(!presence.is_online(RAVI).await);
    let (version, status) = presence
        .published_events(RAVI)
        .await
        .pop()
        .expect("an event");
    assert_eq!(version, presence.status(RAVI).await.expect("known").version);
    assert!(!status.is_online);

    presence.advance_clock(FIVE_MINUTES);
    assert_eq!(presence.sweep().await.marked_offline, 1, "each once");
    presence.heartbeat(RAVI).await.expect("stored");
    assert!(presence.is_online(RAVI).await, "and back again");
}

#[tokio::test]
async fn a_login_of_a_user_who_is_online_counts_as_a_sign_of_life() {
    let presence = Presence::start_with_two_users().await;
    presence.heartbeat(ASHA).await.expect("stored");
    presence.advance_clock(FIVE_MINUTES - 10);
    let login = presence.set_session(ASHA, ONLINE, presence.now()).await;
    login.expect("logged in");
    presence.advance_clock(11);
    assert_eq!(presence.sweep().await, StatusSweepCounts::default());
    assert!(presence.is_online(ASHA).await);
    presence.advance_clock(FIVE_MINUTES - 10);
    assert_eq!(presence.sweep().await.marked_offline, 1);
    assert!(!presence.is_online(ASHA).await);
}

#[tokio::test]
async fn a_sweep_checks_all_users_in_several_batches() {
    let presence = Presence::start().await;
    sqlx::query(
        "INSERT INTO presence.user_status
             (user_id, username, is_online, last_seen, created_at, updated_at)
         SELECT id, 'u' || id, true, $1, $1, $1 FROM generate_series(1, 1200) AS id",
    )
    .bind(presence.now())
    .execute(&presence.database.app_pool)
    .await
    .expect("filled");
    presence.advance_clock(FIVE_MINUTES + 1);
    presence.heartbeat(7).await.expect("stored");
    assert_eq!(presence.sweep().await.marked_offline, 1_199);
    assert!(presence.is_online(7).await);
}

#[tokio::test]
async fn the_busy_flag_of_a_user_is_cleared_after_the_announced_wait() {
    let presence = Presence::start_with_two_users().await;
    presence.set_own_busy(ASHA, None).await;
    presence.set_own_busy(RAVI, Some(2)).await;
    assert_eq!(presence.sweep().await.busy_cleared, 1);
    let asha = presence.status(ASHA).await.expect("known");
    assert!(asha.is_online && !asha.is_busy);
    assert!(presence.status(RAVI).await.expect("known").is_busy);
    presence.advance_clock(120);
    assert_eq!(presence.sweep().await.busy_cleared, 1);
    let ravi = presence.status(RAVI).await.expect("known");
    assert_eq!((ravi.is_busy, ravi.wait_time), (false, None));
}

#[tokio::test]
async fn a_call_that_is_not_live_makes_nobody_busy() {
    let presence = Presence::start_with_two_users().await;
    // The calls service does not know this call.
    let call_id = i64::MAX - 1;
    presence.begin_call(call_id, &[ASHA, RAVI]).await;
    let counts = presence.sweep().await;
    assert_eq!(counts.busy_cleared, 2);
    for user_id in [ASHA, RAVI] {
        let status = presence.status(user_id).await.expect("known");
        assert_eq!((status.is_busy, status.wait_time), (false, None));
    }
    assert_eq!(presence.sweep().await, StatusSweepCounts::default());
}

#[tokio::test]
async fn heartbeats_of_several_users_are_stored_together() {
    let presence = Presence::start_with_two_users().await;
    let request = pb::HeartbeatManyRequest {
        user_ids: vec![RAVI, 404, ASHA, RAVI],
        ..pb::HeartbeatManyRequest::default()
    };
    let answered = answer(presence.api.heartbeat_many(Request::new(request)).await);
    assert_eq!(answered.expect("stored").unknown_user_ids, [404]);
    assert!(presence.is_online(ASHA).await && presence.is_online(RAVI).await);

    let request = pb::ListOnlineRequest {
        listeners_only: false,
        limit: 1,
    };
    let online = answer(presence.api.list_online(Request::new(request)).await);
    let online = online.expect("listed");
    assert_eq!((online.statuses.len(), online.has_more), (1, true));
}
