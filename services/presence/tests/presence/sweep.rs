//! The silent are offline, and nobody stays busy without a reason.

use talktime_presence::sweep::Swept;
use talktime_proto::presence::v1 as pb;
use talktime_proto::presence::v1::presence_service_server::PresenceService;
use tonic::Request;

use crate::{ASHA, Presence, RAVI, answer};

const FIVE_MINUTES: i64 = 300;

impl Presence {
    async fn sweep(&self) -> Swept {
        self.sweeper.look_now().await.expect("swept")
    }

    async fn is_online(&self, user_id: i64) -> bool {
        self.status(user_id).await.expect("known").is_online
    }

    async fn say_busy(&self, user_id: i64, wait_time: Option<i32>) {
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
async fn five_minutes_of_silence_are_absence() {
    let presence = Presence::start_with_two().await;
    for user_id in [ASHA, RAVI] {
        presence.heartbeat(user_id).await.expect("stored");
    }
    presence.seconds_pass(FIVE_MINUTES - 10);
    presence.heartbeat(ASHA).await.expect("stored");
    assert_eq!(presence.sweep().await, Swept::default());
    presence.seconds_pass(11);
    let swept = presence.sweep().await;
    assert_eq!((swept.marked_offline, swept.busy_cleared), (1, 0));
    assert!(presence.is_online(ASHA).await);
    assert!(!presence.is_online(RAVI).await);
    let (version, told) = presence.told(RAVI).await.pop().expect("told");
    assert_eq!(version, presence.status(RAVI).await.expect("known").version);
    assert!(!told.is_online);

    presence.seconds_pass(FIVE_MINUTES);
    assert_eq!(presence.sweep().await.marked_offline, 1, "each once");
    presence.heartbeat(RAVI).await.expect("stored");
    assert!(presence.is_online(RAVI).await, "and back again");
}

#[tokio::test]
async fn a_sweep_after_a_stop_goes_through_everyone_in_batches() {
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
    presence.seconds_pass(FIVE_MINUTES + 1);
    presence.heartbeat(7).await.expect("stored");
    assert_eq!(presence.sweep().await.marked_offline, 1_199);
    assert!(presence.is_online(7).await);
}

#[tokio::test]
async fn ones_own_busy_flag_is_cleared_and_a_wait_that_was_named_is_waited() {
    let presence = Presence::start_with_two().await;
    presence.say_busy(ASHA, None).await;
    presence.say_busy(RAVI, Some(2)).await;
    assert_eq!(presence.sweep().await.busy_cleared, 1);
    let asha = presence.status(ASHA).await.expect("known");
    assert!(asha.is_online && !asha.is_busy);
    assert!(presence.status(RAVI).await.expect("known").is_busy);
    presence.seconds_pass(120);
    assert_eq!(presence.sweep().await.busy_cleared, 1);
    let ravi = presence.status(RAVI).await.expect("known");
    assert_eq!((ravi.is_busy, ravi.wait_time), (false, None));
}

#[tokio::test]
async fn nobody_is_busy_with_a_call_that_is_not_live() {
    let presence = Presence::start_with_two().await;
    // The calls service has never had it.
    let call_id = i64::MAX - 1;
    presence.begin_call(call_id, &[ASHA, RAVI]).await;
    let swept = presence.sweep().await;
    assert_eq!(swept.busy_cleared, 2);
    for user_id in [ASHA, RAVI] {
        let status = presence.status(user_id).await.expect("known");
        assert_eq!((status.is_busy, status.wait_time), (false, None));
    }
    assert_eq!(presence.sweep().await, Swept::default());
}

#[tokio::test]
async fn signs_of_life_of_many_are_stored_together() {
    let presence = Presence::start_with_two().await;
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
