//! Heartbeats in batches.

use std::time::Duration;

use chrono::TimeDelta;
use futures::StreamExt;
use futures::future::join_all;
use prost::Message as _;
use talktime_kit::messaging;
use talktime_kit::testing::operator_nats;
use talktime_presence::config::HeartbeatBatchConfig;
use talktime_proto::access::BUS_OPERATOR;
use talktime_proto::events::LIVE_PRESENCE_SUBJECT;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{LoggedOut, SignsOfLife};
use talktime_proto::presence::v1 as pb;
use talktime_proto::presence::v1::presence_service_server::PresenceService;
use talktime_proto::timestamp;
use tonic::{Code, Request};

use crate::{
    ASHA, NOBODY, OFFLINE, ONLINE, Presence, RAVI, answer, refusal, registered, status_of,
};

#[tokio::test]
async fn a_heartbeat_moves_last_seen_and_puts_an_offline_user_online() {
    let presence = Presence::start_with_two_users().await;
    presence.advance_clock(60);
    presence.heartbeat(ASHA).await.expect("stored");
    let asha = presence.status(ASHA).await.expect("known");
    assert!(asha.is_online);
    assert_eq!(asha.last_seen, Some(timestamp(presence.now())));
    assert_eq!(asha.updated_at, asha.last_seen);

    presence.advance_clock(60);
    presence.heartbeat(ASHA).await.expect("stored");
    let asha = presence.status(ASHA).await.expect("known");
    assert_eq!(asha.last_seen, Some(timestamp(presence.now())));
    assert_eq!(
        presence.published_versions(ASHA).await,
        [1, 2],
        "registered and online; a further heartbeat is no event"
    );
}

#[tokio::test]
async fn each_request_of_a_batch_gets_its_own_answer() {
    let presence = Presence::start_with_two_users().await;
    let user_ids = [ASHA, NOBODY, RAVI, ASHA, NOBODY];
    let answers = join_all(user_ids.map(|user_id| presence.heartbeat(user_id))).await;
    for (user_id, answer) in user_ids.into_iter().zip(answers) {
        let unknown = if user_id == NOBODY {
            vec![NOBODY]
        } else {
            vec![]
        };
        assert_eq!(answer, Ok(unknown));
    }
    assert_eq!(presence.published_versions(ASHA).await, [1, 2]);
}

#[tokio::test]
async fn concurrent_heartbeats_and_changes_lose_nothing() {
    let presence = Presence::start_with_two_users().await;
    let rounds = (1..=40).map(|round| {
        let presence = &presence;
        async move {
            let logout_at = presence.now() + TimeDelta::seconds(round);
            let (alive, offline, ()) = tokio::join!(
                presence.heartbeat(ASHA),
                presence.set_session(ASHA, OFFLINE, logout_at),
                presence.begin_call(round, &[RAVI, ASHA]),
            );
            alive.expect("stored");
            offline.expect("stored");
            presence.end_call(round, &[RAVI, ASHA]).await;
        }
    });
    join_all(rounds).await;
    presence.heartbeat(ASHA).await.expect("stored");
    let asha = presence.status(ASHA).await.expect("known");
    assert!(asha.is_online && !asha.is_busy);
    let versions = presence.published_versions(ASHA).await;
    assert_eq!(versions, (1..=asha.version).collect::<Vec<i64>>());
}

#[tokio::test]
async fn hundreds_of_heartbeats_share_few_commits() {
    let config = HeartbeatBatchConfig {
        group_max: 100,
        wait_ms: 500,
        ..HeartbeatBatchConfig::default()
    };
    let presence = Presence::start_with(config, None).await;
    for user_id in 1..=300 {
        presence
            .handle_event(1, registered(user_id, "someone"))
            .await;
    }
    join_all((1..=300).map(|user_id| presence.heartbeat(user_id)))
        .await
        .into_iter()
        .for_each(|answer| assert_eq!(answer, Ok(vec![])));
    // The rows that one transaction wrote carry its id.
    let commits: i64 = sqlx::query_scalar(
        "SELECT count(DISTINCT xmin::text) FROM presence.user_status WHERE is_online",
    )
    .fetch_one(&presence.database.app_pool)
    .await
    .expect("readable");
    assert_eq!(commits, 3);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let config = HeartbeatBatchConfig {
        queued_max: 1,
        ..HeartbeatBatchConfig::default()
    };
    let presence = Presence::start_with(config, None).await;
    presence.handle_event(1, registered(ASHA, "asha")).await;
    // All are polled before the worker runs, so that one of them fits into the queue.
    let answers = join_all((0..10).map(|_| presence.heartbeat(ASHA))).await;
    let stored = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(stored, 1);
    let overloaded = refusal(Code::Unavailable, "overloaded");
    let refused = answers.into_iter().filter_map(Result::err);
    assert!(refused.into_iter().all(|answer| answer == overloaded));
}

#[tokio::test]
async fn a_database_failure_reaches_every_waiting_request() {
    let presence = Presence::start_with_two_users().await;
    sqlx::query("REVOKE UPDATE ON presence.user_status FROM presence_app")
        .execute(&presence.database.superuser)
        .await
        .expect("revoked");
    let answers = join_all([ASHA, RAVI].map(|user_id| presence.heartbeat(user_id))).await;
    for answer in answers {
        assert_eq!(
            answer.expect_err("not stored"),
            refusal(Code::Internal, "internal")
        );
    }
}

#[tokio::test]
async fn every_heartbeat_is_broadcast_to_open_sockets() {
    let url = std::env::var("NATS_URL").expect("NATS_URL is not set: run `cargo dev test`");
    let nats = messaging::connect(&operator_nats(url), BUS_OPERATOR)
        .await
        .expect("a client");
    let mut live = nats
        .subscribe(LIVE_PRESENCE_SUBJECT)
        .await
        .expect("subscribed");
    nats.flush().await.expect("connected");
    // Other tests broadcast on the same server, so this one uses a user id of its own.
    let user_id = i64::from(std::process::id()) + 1_000_000;
    let presence = Presence::start_with(HeartbeatBatchConfig::default(), Some(nats)).await;
    presence.handle_event(1, registered(user_id, "asha")).await;
    for version in [2, 2] {
        presence.advance_clock(60);
        presence.heartbeat(user_id).await.expect("stored");
        let received = async {
            loop {
                let message = live.next().await.expect("an open subscription");
                let signs = SignsOfLife::decode(message.payload).expect("signs of life");
                let mut statuses = signs.statuses.into_iter().map(status_of);
                if let Some(found) = statuses.find(|(_, status)| status.user_id == user_id) {
                    return found;
                }
            }
        };
        let (received_version, status) = tokio::time::timeout(Duration::from_secs(5), received)
            .await
            .expect("received in time");
        assert_eq!(received_version, version);
        assert!(status.is_online);
        assert_eq!(status.last_seen, Some(timestamp(presence.now())));
    }
}

#[tokio::test]
async fn a_late_heartbeat_of_an_ended_session_is_ignored() {
    let presence = Presence::start_with_two_users().await;
    presence.heartbeat(ASHA).await.expect("stored");
    presence.advance_clock(1);
    presence.end_session(ASHA, "s1").await;
    let ended = presence.status(ASHA).await.expect("known");
    presence.advance_clock(1);
    let now = presence.now();
    // The time does not matter, since the clock of a gateway may be wrong.
    let late = [
        (ASHA, "s1", now - TimeDelta::seconds(2)),
        (ASHA, "s1", now + TimeDelta::hours(1)),
    ];
    assert!(
        presence.send_heartbeats(&late).await.is_empty(),
        "she is known"
    );
    assert_eq!(presence.status(ASHA).await.expect("known"), ended);

    // Heartbeats of her other session and of other users count.
    let beats = [
        (ASHA, "s1", now),
        (RAVI, "s1", now),
        (ASHA, "s2", now),
        (NOBODY, "s1", now),
    ];
    assert_eq!(presence.send_heartbeats(&beats).await, [NOBODY]);
    for user_id in [ASHA, RAVI] {
        assert!(presence.status(user_id).await.expect("known").is_online);
    }
}

#[tokio::test]
async fn the_event_of_a_logout_ends_its_sessions_like_the_request() {
    let presence = Presence::start_with_two_users().await;
    let logout = Kind::LoggedOut(LoggedOut {
        user_id: ASHA,
        session_ids: vec!["s1".to_owned()],
    });
    // The login of another session has overtaken it.
    presence.advance_clock(10);
    let now = presence.now();
    presence.set_session(ASHA, ONLINE, now).await.expect("in");
    presence
        .handle_event_at(1, now - TimeDelta::seconds(1), logout)
        .await;
    let settings = |session_id: &str| pb::UpdateStatusRequest {
        user_id: ASHA,
        is_online: Some(true),
        session_id: session_id.to_owned(),
        ..pb::UpdateStatusRequest::default()
    };
    let update = |session_id| {
        presence
            .api
            .update_status(Request::new(settings(session_id)))
    };
    assert_eq!(
        answer(update("s1").await).expect_err("it has ended"),
        refusal(Code::Unauthenticated, "token_revoked")
    );
    answer(update("s2").await).expect("stored");
}

#[tokio::test]
async fn a_heartbeat_from_before_going_offline_is_ignored() {
    let presence = Presence::start_with_two_users().await;
    presence.heartbeat(ASHA).await.expect("stored");
    presence.advance_clock(10);
    let went_offline_at = presence.now();
    let request = pb::UpdateStatusRequest {
        user_id: ASHA,
        is_online: Some(false),
        session_id: "s1".to_owned(),
        accepted_at: Some(timestamp(went_offline_at)),
        ..pb::UpdateStatusRequest::default()
    };
    let updated = presence.api.update_status(Request::new(request)).await;
    answer(updated).expect("stored");
    let is_online = || async { presence.status(ASHA).await.expect("known").is_online };
    let presence = &presence;
    let beat_at = |at| async move { presence.send_heartbeats(&[(ASHA, "s1", at)]).await };
    beat_at(went_offline_at - TimeDelta::milliseconds(1)).await;
    assert!(!is_online().await);
    beat_at(went_offline_at + TimeDelta::milliseconds(1)).await;
    assert!(is_online().await);
}
