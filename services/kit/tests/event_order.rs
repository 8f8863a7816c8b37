//! Events of one aggregate reach the stream in the order of their commits, whatever stops on the way: two
//! relays publish one outbox to a NATS server of the test's own.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use prost::Message as _;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgConnectOptions;
use talktime_kit::Clock;
use talktime_kit::db::{DatabasePool, DatabaseSchema, PlanCacheMode};
use talktime_kit::messaging::{self, EventSource, Relay, outbox};
use talktime_kit::progress::LoopRegistry;
use talktime_kit::testing::{PrivateNats, TestDatabase, WAIT_MAX, operator_nats, wait_until};
use talktime_proto::access::BUS_OPERATOR;
use talktime_proto::events::STREAM_NAME;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Earned, Event};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Connections of the replica that freezes.
const CONNECTIONS_MAX: u32 = 4;
const AGGREGATES: i64 = 8;
const PAUSE: Duration = Duration::from_secs(2);
/// Longer than a relay may hold the right to publish.
const FREEZE: Duration = Duration::from_secs(9);

static NO_MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| Migrator::with_migrations(vec![]));

async fn connect(url: String) -> async_nats::Client {
    let connected = messaging::connect(&operator_nats(url), BUS_OPERATOR).await;
    connected.expect("a valid address")
}

/// A service with two replicas, of which `frozen` may be on a runtime of its own.
struct Bench {
    database: TestDatabase,
    nats: PrivateNats,
    source: EventSource,
    stopping: CancellationToken,
    _stop: DropGuard,
}

impl Bench {
    async fn set_up() -> Self {
        let schema = DatabaseSchema {
            name: "wallet",
            migrations: &NO_MIGRATIONS,
            plan_cache_mode: PlanCacheMode::ForceGeneric,
        };
        let nats = PrivateNats::start();
        let jetstream = async_nats::jetstream::new(connect(nats.url()).await);
        messaging::ensure_stream(&jetstream).await.expect("made");
        let stopping = CancellationToken::new();
        Self {
            database: TestDatabase::new(schema).await,
            nats,
            source: EventSource::of_service("wallet"),
            _stop: stopping.clone().drop_guard(),
            stopping,
        }
    }

    /// Returns the versions of the events of each aggregate, in the order of the stream.
    async fn versions(&self) -> BTreeMap<i64, Vec<i64>> {
        let jetstream = async_nats::jetstream::new(connect(self.nats.url()).await);
        let stream = jetstream.get_stream(STREAM_NAME).await.expect("made");
        let last = stream
            .get_info()
            .await
            .expect("answered")
            .state
            .last_sequence;
        let mut versions: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
        for sequence in 1..=last {
            let message = stream.get_raw_message(sequence).await.expect("stored");
            let event = Event::decode(message.payload).expect("an event");
            if let Some(Kind::Earned(earned)) = event.kind {
                versions
                    .entry(earned.user_id)
                    .or_default()
                    .push(event.version);
            }
        }
        versions
    }

    /// A replica's relay in this runtime.
    async fn start_relay(&self) -> Relay {
        let relay = Relay::default();
        let run = relay.clone().run(
            self.source,
            self.database.app.clone(),
            connect(self.nats.url()).await,
            LoopRegistry::default().register("relay", WAIT_MAX),
            self.stopping.clone(),
        );
        tokio::spawn(run);
        relay
    }

    /// A replica's relay on a thread of its own, which can freeze as a stopped process does.
    fn start_relay_apart(&self) -> (Relay, tokio::runtime::Runtime) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let relay = Relay::default();
        let (replica, source, stopping) = (relay.clone(), self.source, self.stopping.clone());
        let options: PgConnectOptions = (*self.database.app_pool.connect_options()).clone();
        let url = self.nats.url();
        runtime.spawn(async move {
            let db = DatabasePool::connect_lazily(options, CONNECTIONS_MAX);
            let nats = connect(url).await;
            let progress = LoopRegistry::default().register("relay", WAIT_MAX);
            replica.run(source, db, nats, progress, stopping).await;
        });
        (relay, runtime)
    }

    /// Writes the event `version` of each aggregate, in a transaction of its own.
    async fn write(&self, version: i64) {
        for user_id in 1..=AGGREGATES {
            let earned = Earned {
                user_id,
                paise: 1,
                transfer_id: String::new(),
            };
            let kind = Kind::Earned(earned);
            let mut tx = self.database.app.begin().await.expect("connected");
            outbox::append(&mut tx, user_id, version, Clock::System.now(), kind)
                .await
                .expect("written");
            tx.commit().await.expect("committed");
        }
    }

    async fn count_unpublished(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE published_at IS NULL")
            .fetch_one(&self.database.app_pool)
            .await
            .expect("readable")
    }

    async fn wait_until_published(&self) {
        wait_until("all published", || async {
            self.count_unpublished().await == 0
        })
        .await;
    }

    async fn assert_in_order(&self, versions: i64) {
        let expected: Vec<i64> = (1..=versions).collect();
        let published = self.versions().await;
        assert_eq!(i64::try_from(published.len()), Ok(AGGREGATES));
        for (user_id, versions) in published {
            assert_eq!(versions, expected, "of aggregate {user_id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_an_aggregate_stay_in_order_while_nats_pauses() {
    let bench = Bench::set_up().await;
    let relays = [bench.start_relay().await, bench.start_relay().await];
    let mut version = 0;
    for _ in 0..3 {
        bench.nats.signal("STOP").await;
        let paused = Instant::now();
        while paused.elapsed() < PAUSE {
            version += 1;
            bench.write(version).await;
            relays[usize::try_from(version % 2).expect("0 or 1")].wake();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        bench.nats.signal("CONT").await;
        bench.wait_until_published().await;
    }
    bench.assert_in_order(version).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_freezes_holds_up_the_others_for_seconds_and_sends_nothing_old() {
    let bench = Bench::set_up().await;
    let (doomed, runtime) = bench.start_relay_apart();
    bench.write(1).await;
    doomed.wake();
    bench.wait_until_published().await;

    // It has the right to publish and waits for NATS; then it stops for longer than it may hold the right.
    bench.nats.signal("STOP").await;
    bench.write(2).await;
    doomed.wake();
    tokio::time::sleep(Duration::from_millis(500)).await;
    #[expect(
        clippy::disallowed_methods,
        reason = "blocks the only thread, as SIGSTOP would"
    )]
    let thawed = runtime.spawn(async { std::thread::sleep(FREEZE) });
    tokio::time::sleep(Duration::from_millis(100)).await;
    bench.nats.signal("CONT").await;

    let steady = bench.start_relay().await;
    for version in 3..=6 {
        bench.write(version).await;
        steady.wake();
    }
    bench.wait_until_published().await;
    assert!(
        !thawed.is_finished(),
        "published while the other was frozen"
    );
    thawed.await.expect("thawed");
    bench.write(7).await;
    doomed.wake();
    bench.wait_until_published().await;
    bench.assert_in_order(7).await;
    runtime.shutdown_background();
}

#[tokio::test]
async fn an_event_that_cannot_be_published_holds_back_its_own_aggregate_alone() {
    let bench = Bench::set_up().await;
    bench.write(1).await;
    // No subject of the stream, so the stream refuses it.
    sqlx::query("UPDATE outbox SET subject = 'nowhere' WHERE aggregate_id = 1")
        .execute(&bench.database.app_pool)
        .await
        .expect("written");
    bench.write(2).await;
    let relay = bench.start_relay().await;
    relay.wake();
    wait_until("the others", || async {
        bench.count_unpublished().await == 2
    })
    .await;
    let published = bench.versions().await;
    assert_eq!(
        i64::try_from(published.len()),
        Ok(AGGREGATES - 1),
        "{published:?}"
    );

    sqlx::query("UPDATE outbox SET subject = 'events.wallet.earned' WHERE aggregate_id = 1")
        .execute(&bench.database.app_pool)
        .await
        .expect("written");
    bench.wait_until_published().await;
    bench.assert_in_order(2).await;
}
