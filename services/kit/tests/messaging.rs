//! Events over a real Postgres and NATS: written with the rows, delivered, applied once.

use std::sync::LazyLock;

use futures::StreamExt;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::SdkTracerProvider;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgPool, SqlSafeStr};
use talktime_kit::db::{DatabaseSchema, PgConnection, PlanCacheMode};
use talktime_kit::messaging::{
    self, EventHandler, EventSource, Relay, consumer, dead_letters, outbox,
};
use talktime_kit::progress::LoopRegistry;
use talktime_kit::testing::{TestDatabase, WAIT_MAX, operator_nats, unique_name, wait_until};
use talktime_kit::{Clock, Error, trace};
use talktime_proto::access::BUS_OPERATOR;
use talktime_proto::events::STREAM_NAME;
use talktime_proto::events::consumers::DurableConsumer;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Earned, Event};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;
use tracing_subscriber::prelude::*;

/// A table that the handlers below write to, in a schema that exists in the template.
static EFFECTS: LazyLock<Migrator> = LazyLock::new(|| {
    let sql = "CREATE TABLE wallet.effects (user_id bigint NOT NULL, traceparent text)";
    let migration = Migration::new(
        1,
        "effects".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    );
    Migrator::with_migrations(vec![migration])
});

struct Bench {
    database: TestDatabase,
    nats: async_nats::Client,
    relay: Relay,
    _stop: DropGuard,
    stopping: CancellationToken,
    /// Events of other tests travel on the same subjects: ours are about this user.
    user_id: i64,
}

impl Bench {
    async fn set_up() -> Self {
        let database = TestDatabase::new(DatabaseSchema {
            name: "wallet",
            migrations: &EFFECTS,
            plan_cache_mode: PlanCacheMode::ForceGeneric,
        })
        .await;
        let url = std::env::var("NATS_URL").expect("NATS_URL is set by `cargo dev test`");
        let nats = messaging::connect(&operator_nats(url), BUS_OPERATOR)
            .await
            .expect("connects");
        let relay = Relay::default();
        let stopping = CancellationToken::new();
        // The relay names its messages by their rows: another database needs another name.
        let source = EventSource {
            service: "wallet",
            id_prefix: unique_name("bench").leak(),
        };
        let run = relay.clone().run(
            source,
            database.app.clone(),
            nats.clone(),
            LoopRegistry::default().register("relay", WAIT_MAX),
            stopping.clone(),
        );
        tokio::spawn(run);
        // Above any real id, so that a service that gets the event finds no such user.
        let user_id = (1_i64 << 40) + i64::from(uuid::Uuid::new_v4().as_fields().0);
        let stop = stopping.clone().drop_guard();
        Self {
            database,
            nats,
            relay,
            _stop: stop,
            stopping,
            user_id,
        }
    }

    fn consume(&self, handler: Recorder) -> &'static str {
        let name: &'static str = unique_name("bench").leak();
        let consumer = DurableConsumer {
            name,
            filter: "events.wallet.>",
        };
        tokio::spawn(consumer::run(
            consumer,
            handler,
            self.database.app.clone(),
            self.nats.clone(),
            LoopRegistry::default().register(consumer.name, WAIT_MAX),
            self.stopping.clone(),
        ));
        name
    }

    async fn append(&self, tx: &mut PgConnection) {
        self.append_of(tx, self.user_id).await;
    }

    async fn append_of(&self, tx: &mut PgConnection, user_id: i64) {
        let earned = Earned {
            user_id,
            paise: 1,
            transfer_id: String::new(),
        };
        outbox::append(tx, user_id, 1, Clock::System.now(), Kind::Earned(earned))
            .await
            .expect("written");
    }

    async fn append_and_commit(&self) {
        let mut tx = self.database.app.begin().await.expect("connected");
        self.append(&mut tx).await;
        tx.commit().await.expect("committed");
        self.relay.wake();
    }

    /// The traces in which the effects happened.
    async fn effect_traces(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT traceparent FROM wallet.effects WHERE traceparent IS NOT NULL")
            .fetch_all(&self.database.app_pool)
            .await
            .expect("readable")
    }

    async fn count_effects(&self) -> i64 {
        count(
            &self.database.app_pool,
            "SELECT count(*) FROM wallet.effects",
        )
        .await
    }
}

async fn count(pool: &PgPool, query: &'static str) -> i64 {
    sqlx::query_scalar(query)
        .fetch_one(pool)
        .await
        .expect("readable")
}

/// Writes a row for each event of its user, and then refuses the event if the test says so.
struct Recorder {
    user_id: i64,
    refuses: bool,
}

impl EventHandler for Recorder {
    fn wants(&self, event: &Event) -> bool {
        matches!(&event.kind, Some(Kind::Earned(earned)) if earned.user_id == self.user_id)
    }

    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let Some(Kind::Earned(earned)) = event.kind else {
            return Ok(());
        };
        sqlx::query("INSERT INTO wallet.effects (user_id, traceparent) VALUES ($1, $2)")
            .bind(earned.user_id)
            .bind(trace::current())
            .execute(tx)
            .await?;
        if self.refuses {
            return Err(Error::invalid("refused", "This handler refuses."));
        }
        Ok(())
    }
}

#[tokio::test]
async fn an_event_that_is_irrelevant_to_the_service_leaves_no_trace() {
    let bench = Bench::set_up().await;
    bench.consume(Recorder {
        user_id: bench.user_id,
        refuses: false,
    });
    let mut tx = bench.database.app.begin().await.expect("connected");
    bench.append_of(&mut tx, bench.user_id + 1).await;
    bench.append(&mut tx).await;
    tx.commit().await.expect("committed");
    bench.relay.wake();
    wait_until("the effect", || async { bench.count_effects().await == 1 }).await;
    let remembered = "SELECT count(*) FROM inbox";
    assert_eq!(count(&bench.database.app_pool, remembered).await, 1);
}

#[tokio::test]
async fn a_committed_event_has_its_effect_and_a_rolled_back_one_has_none() {
    let bench = Bench::set_up().await;
    bench.consume(Recorder {
        user_id: bench.user_id,
        refuses: false,
    });
    let mut tx = bench.database.app.begin().await.expect("connected");
    bench.append(&mut tx).await;
    tx.rollback().await.expect("rolled back");
    bench.append_and_commit().await;
    wait_until("the effect", || async { bench.count_effects().await == 1 }).await;
    let unpublished = "SELECT count(*) FROM outbox WHERE published_at IS NULL";
    wait_until("all published", || async {
        count(&bench.database.app_pool, unpublished).await == 0
    })
    .await;
    assert_eq!(bench.count_effects().await, 1);
}

#[tokio::test]
async fn a_republished_event_has_no_second_effect() {
    let bench = Bench::set_up().await;
    bench.consume(Recorder {
        user_id: bench.user_id,
        refuses: false,
    });
    bench.append_and_commit().await;
    wait_until("the effect", || async { bench.count_effects().await == 1 }).await;

    let mut published = bench
        .nats
        .subscribe("events.wallet.earned")
        .await
        .expect("subscribed");
    outbox::mark_unpublished(&bench.database.app, 3_600, "asha")
        .await
        .expect("marked");
    let recorded = "SELECT count(*) FROM operator_actions
                    WHERE operator_name = 'asha' AND command = 'republish --since-secs 3600'";
    assert_eq!(count(&bench.database.app_pool, recorded).await, 1);
    bench.relay.wake();
    let wait = async {
        loop {
            let seen = published.next().await.expect("the connection lives");
            let event: Event = prost::Message::decode(seen.payload).expect("an event");
            if matches!(event.kind, Some(Kind::Earned(earned)) if earned.user_id == bench.user_id) {
                return;
            }
        }
    };
    tokio::time::timeout(WAIT_MAX, wait)
        .await
        .expect("published again");
    bench.append_and_commit().await;
    wait_until("the next event's effect", || async {
        bench.count_effects().await >= 2
    })
    .await;
    assert_eq!(bench.count_effects().await, 2, "one effect for each event");
}

#[tokio::test]
async fn a_message_that_cannot_be_handled_is_buried_and_can_be_replayed() {
    let bench = Bench::set_up().await;
    let name = bench.consume(Recorder {
        user_id: bench.user_id,
        refuses: true,
    });
    bench.append_and_commit().await;
    let letters = "SELECT count(*) FROM dead_letters WHERE replayed_at IS NULL";
    wait_until("a dead letter", || async {
        count(&bench.database.app_pool, letters).await == 1
    })
    .await;
    assert_eq!(
        bench.count_effects().await,
        0,
        "a refused effect is rolled back"
    );
    let listed = dead_letters::list(&bench.database.app)
        .await
        .expect("readable");
    assert!(
        listed[0].contains(name) && listed[0].contains("This handler refuses"),
        "{listed:?}"
    );

    bench.stopping.cancel();
    let stopping = CancellationToken::new();
    let _stop = stopping.clone().drop_guard();
    let consumer = DurableConsumer {
        name,
        filter: "events.wallet.>",
    };
    let mended = Recorder {
        user_id: bench.user_id,
        refuses: false,
    };
    let pool = bench.database.app.clone();
    tokio::spawn(consumer::run(
        consumer,
        mended,
        pool,
        bench.nats.clone(),
        LoopRegistry::default().register(consumer.name, WAIT_MAX),
        stopping,
    ));
    let letter: i64 = count(
        &bench.database.app_pool,
        "SELECT dead_letter_id FROM dead_letters",
    )
    .await;
    dead_letters::replay(&bench.database.app, &bench.nats, letter, "asha")
        .await
        .expect("replayed");
    let unknown = dead_letters::replay(&bench.database.app, &bench.nats, letter + 1, "asha").await;
    unknown.expect_err("there is none");
    let recorded =
        "SELECT count(*) FROM operator_actions WHERE command LIKE 'dead-letters replay %'";
    assert_eq!(count(&bench.database.app_pool, recorded).await, 1);
    wait_until("the effect", || async { bench.count_effects().await == 1 }).await;
    assert_eq!(count(&bench.database.app_pool, letters).await, 0);
}

/// Publishes an event about the user of the bench, as somebody with the rights of a service could.
async fn publish_forged(bench: &Bench, subject: &'static str, source: &str) {
    let event = Event {
        version: 1,
        happened_at: None,
        kind: Some(Kind::Earned(Earned {
            user_id: bench.user_id,
            paise: 1,
            transfer_id: String::new(),
        })),
    };
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("ce-source", source);
    let payload = prost::Message::encode_to_vec(&event).into();
    let jetstream = messaging::open_jetstream(bench.nats.clone());
    let publishing = jetstream.publish_with_headers(subject, headers, payload);
    let stored = publishing.await.expect("sent").await;
    stored.expect("the stream has it");
}

#[tokio::test]
async fn an_event_that_is_not_of_its_subject_has_no_effect_and_does_not_return() {
    let bench = Bench::set_up().await;
    let name = bench.consume(Recorder {
        user_id: bench.user_id,
        refuses: false,
    });
    publish_forged(&bench, "events.wallet.charged", "/talktime/wallet").await;
    publish_forged(&bench, "events.wallet.earned", "/talktime/verification").await;
    // It arrives after the others.
    bench.append_and_commit().await;
    wait_until("the effect", || async { bench.count_effects().await == 1 }).await;
    let jetstream = messaging::open_jetstream(bench.nats.clone());
    let stream = jetstream
        .get_stream_no_info(STREAM_NAME)
        .await
        .expect("named");
    wait_until("all deliveries to end", || async {
        let info = stream.consumer_info(name).await.expect("it exists");
        info.num_ack_pending == 0
    })
    .await;
    assert_eq!(bench.count_effects().await, 1, "the forged ones have none");
    let letters = "SELECT count(*) FROM dead_letters";
    assert_eq!(count(&bench.database.app_pool, letters).await, 0);
}

#[tokio::test]
async fn the_trace_of_a_writer_reaches_the_effect_through_outbox_row_and_message() {
    let tracer = SdkTracerProvider::builder().build().tracer("test");
    let layer = tracing_opentelemetry::layer().with_tracer(tracer);
    // The only test of this program that needs a subscriber, so it may be everybody's.
    tracing_subscriber::registry().with(layer).init();
    let bench = Bench::set_up().await;
    bench.consume(Recorder {
        user_id: bench.user_id,
        refuses: false,
    });
    let span = tracing::info_span!("writer", trace_id = tracing::field::Empty);
    trace::adopt(
        &span,
        Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    );
    bench.append_and_commit().instrument(span).await;
    wait_until("the effect", || async { bench.count_effects().await == 1 }).await;
    let traces = bench.effect_traces().await;
    assert!(
        traces[0].contains("0af7651916cd43dd8448eb211c80319c"),
        "{traces:?}"
    );
}
