//! Every acknowledged heartbeat is in the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Connection, PgConnection};
use talktime_client::AppUser;
use talktime_proto::access::v1::Workload;
use talktime_proto::presence::v1::HeartbeatManyRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_tests::{ExpectAnswer, TestApp, connect_app, connect_as, run_dev, wait_for};
use tokio::task::JoinSet;
use tonic::transport::Channel;

use super::{database_url, sign_up_many};
use crate::lock_stack;

/// A user whose phone sends heartbeats repeatedly, with the acknowledged ones.
struct HeartbeatSender {
    person: AppUser,
    answered: AtomicUsize,
    /// Time before the last acknowledged heartbeat was sent, by the clock that the test shares with presence, in
    /// microseconds like the table.
    alive_at_us: AtomicI64,
}

impl HeartbeatSender {
    fn new(person: AppUser) -> Arc<Self> {
        Arc::new(Self {
            person,
            answered: AtomicUsize::new(0),
            alive_at_us: AtomicI64::new(0),
        })
    }

    /// Sends heartbeats until `stop` is set. Unacknowledged ones are ignored.
    async fn run(self: Arc<Self>, route: HeartbeatRoute, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_us = now.expect("after 1970").as_micros();
            if route.send_heartbeat(&self.person).await {
                let now_us = i64::try_from(now_us).expect("before 292277");
                self.alive_at_us.store(now_us, Ordering::Relaxed);
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            tokio::task::yield_now().await;
        }
    }
}

/// The way on which a heartbeat reaches presence.
#[derive(Clone)]
enum HeartbeatRoute {
    Gateway(Arc<TestApp>),
    Grpc(PresenceServiceClient<Channel>),
}

impl HeartbeatRoute {
    async fn send_heartbeat(&self, person: &AppUser) -> bool {
        match self {
            Self::Gateway(app) => {
                let heartbeat = app
                    .post("/users/me/heartbeat")
                    .as_user(person)
                    .answer()
                    .await;
                heartbeat.status == 200
            }
            Self::Grpc(presence) => {
                let mut presence = presence.clone();
                let request = HeartbeatManyRequest {
                    user_ids: vec![person.user_id],
                    ..HeartbeatManyRequest::default()
                };
                presence.heartbeat_many(request).await.is_ok()
            }
        }
    }
}

const BEATING: usize = 24;
const DEATHS: usize = 4;
/// Acknowledged heartbeats of each user before presence is killed.
const ANSWERED_MIN: usize = 5;

/// Returns the time at which the user was last seen according to the table, in microseconds.
async fn load_last_seen_us(person: &AppUser) -> i64 {
    let mut db = PgConnection::connect(&database_url())
        .await
        .expect("connected");
    let seen = sqlx::query_scalar(
        "SELECT (extract(epoch FROM last_seen) * 1000000)::bigint
         FROM presence.user_status WHERE user_id = $1",
    );
    let seen = seen.bind(person.user_id).fetch_one(&mut db).await;
    seen.expect("a status")
}

#[tokio::test]
async fn every_acknowledged_heartbeat_survives_a_kill_of_presence() {
    let _stack = lock_stack().await;
    let app = Arc::new(connect_app().await);
    let channel = connect_as(Workload::Gateway, Workload::Presence);
    let routes = [
        HeartbeatRoute::Gateway(app.clone()),
        HeartbeatRoute::Grpc(PresenceServiceClient::new(channel)),
    ];
    let people = sign_up_many(&app, BEATING).await;
    let people: Vec<_> = people.into_iter().map(HeartbeatSender::new).collect();
    for _ in 0..DEATHS {
        let stop = Arc::new(AtomicBool::new(false));
        let mut beating = JoinSet::new();
        for (one, route) in people.iter().zip(routes.iter().cycle()) {
            one.answered.store(0, Ordering::Relaxed);
            beating.spawn(one.clone().run(route.clone(), stop.clone()));
        }
        wait_for("heartbeats of everybody to be acknowledged", || async {
            let is_acknowledged =
                |one: &Arc<HeartbeatSender>| one.answered.load(Ordering::Relaxed) >= ANSWERED_MIN;
            people.iter().all(is_acknowledged).then_some(())
        })
        .await;
        run_dev(&["kill", "presence"]).await;
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = beating.join_next().await {
            ended.expect("nobody panicked");
        }
        // The check precedes further heartbeats, because a later one would hide a lost one.
        for one in &people {
            let alive_at_us = one.alive_at_us.load(Ordering::Relaxed);
            let seen_us = load_last_seen_us(&one.person).await;
            let user_id = one.person.user_id;
            assert!(
                seen_us >= alive_at_us,
                "{user_id}: {seen_us} < {alive_at_us}"
            );
        }
        run_dev(&["start", "presence"]).await;
    }
}
