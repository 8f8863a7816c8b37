//! Every sign of life that was answered is in the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::{Connection, PgConnection};
use talktime_client::AppUser;
use talktime_proto::presence::v1::HeartbeatManyRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use talktime_tests::{ExpectAnswer, TestApp, connect_app, read_variable, run_dev, wait_for};
use tokio::task::JoinSet;
use tonic::transport::{Channel, Endpoint};

use super::{database, sign_up};
use crate::take_stack;

/// Somebody whose phone beats again and again, and what is known of it.
struct Beating {
    person: AppUser,
    answered: AtomicUsize,
    /// The test's clock, which is presence's too, before the last beat that was answered was sent; in
    /// microseconds, as fine as the table's.
    alive_at_us: AtomicI64,
}

impl Beating {
    fn new(person: AppUser) -> Arc<Self> {
        Arc::new(Self {
            person,
            answered: AtomicUsize::new(0),
            alive_at_us: AtomicI64::new(0),
        })
    }

    /// Beats until told to stop. What is not answered counts for nothing.
    async fn run(self: Arc<Self>, way: Way, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let now_us = now.expect("after 1970").as_micros();
            if way.beat(&self.person).await {
                let now_us = i64::try_from(now_us).expect("before 292277");
                self.alive_at_us.store(now_us, Ordering::Relaxed);
                self.answered.fetch_add(1, Ordering::Relaxed);
            }
            tokio::task::yield_now().await;
        }
    }
}

/// How a beat reaches presence.
#[derive(Clone)]
enum Way {
    Gateway(Arc<TestApp>),
    Grpc(PresenceServiceClient<Channel>),
}

impl Way {
    async fn beat(&self, person: &AppUser) -> bool {
        match self {
            Self::Gateway(app) => {
                let beat = app
                    .post("/users/me/heartbeat")
                    .as_user(person)
                    .answer()
                    .await;
                beat.status == 200
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
/// So many of each are answered before presence dies.
const ANSWERED_MIN: usize = 5;

/// When each was last seen, as the table has it, in microseconds.
async fn last_seen_us(person: &AppUser) -> i64 {
    let mut db = PgConnection::connect(&database()).await.expect("connected");
    let seen = sqlx::query_scalar(
        "SELECT (extract(epoch FROM last_seen) * 1000000)::bigint
         FROM presence.user_status WHERE user_id = $1",
    );
    let seen = seen.bind(person.user_id).fetch_one(&mut db).await;
    seen.expect("a status")
}

#[tokio::test]
async fn every_sign_of_life_that_was_answered_outlives_presence() {
    let _stack = take_stack().await;
    let app = Arc::new(connect_app().await);
    let endpoint = Endpoint::from_shared(read_variable("PRESENCE_GRPC_URL")).expect("an address");
    let ways = [
        Way::Gateway(app.clone()),
        Way::Grpc(PresenceServiceClient::new(endpoint.connect_lazy())),
    ];
    let people = sign_up(&app, BEATING).await;
    let people: Vec<_> = people.into_iter().map(Beating::new).collect();
    for _ in 0..DEATHS {
        let stop = Arc::new(AtomicBool::new(false));
        let mut beating = JoinSet::new();
        for (one, way) in people.iter().zip(ways.iter().cycle()) {
            one.answered.store(0, Ordering::Relaxed);
            beating.spawn(one.clone().run(way.clone(), stop.clone()));
        }
        wait_for("everybody to be heard", || async {
            let heard = |one: &Arc<Beating>| one.answered.load(Ordering::Relaxed) >= ANSWERED_MIN;
            people.iter().all(heard).then_some(())
        })
        .await;
        run_dev(&["kill", "presence"]).await;
        stop.store(true, Ordering::Relaxed);
        while let Some(ended) = beating.join_next().await {
            ended.expect("nobody panicked");
        }
        // Before anybody beats again: a later sign of life would cover one that was lost.
        for one in &people {
            let alive_at_us = one.alive_at_us.load(Ordering::Relaxed);
            let seen_us = last_seen_us(&one.person).await;
            let user_id = one.person.user_id;
            assert!(
                seen_us >= alive_at_us,
                "{user_id}: {seen_us} < {alive_at_us}"
            );
        }
        run_dev(&["start", "presence"]).await;
    }
}
