//! A running service: everything that all of them have, wired once.

use crate::db::Database;
use tonic::service::Routes;

use crate::clock::Clock;
use crate::config::ServiceConfig;
use crate::db::{self, Schema};
use crate::gauges;
use crate::grpc::server;
use crate::lifecycle::Lifecycle;
use crate::messaging::{self, Consumer, Handler, Relay, consumer};
use crate::ops;
use crate::telemetry::{self, Telemetry};

/// A service between its start and its stop.
pub struct Service {
    /// The app role's pool.
    pub db: Database,
    /// Tells the outbox's relay that there is something to publish.
    pub relay: Relay,
    /// NATS, for broadcasts that nobody needs later.
    pub nats: async_nats::Client,
    /// The system's clock.
    pub clock: Clock,
    /// Readiness and stop.
    pub lifecycle: Lifecycle,
    schema: Schema,
    config: ServiceConfig,
    telemetry: Telemetry,
}

impl Service {
    /// Starts telemetry, the operations port, the pool, NATS and the outbox's relay. Does not wait
    /// for any of them to answer.
    pub async fn start(config: ServiceConfig, schema: Schema) -> anyhow::Result<Self> {
        let telemetry = telemetry::init(schema.name, &config.process.telemetry)?;
        let lifecycle = Lifecycle::default();
        ops::listen(
            config.process.ops.listen,
            lifecycle.clone(),
            telemetry.metrics.clone(),
        )
        .await?;
        let db = db::pool(schema, &config.database)?;
        let nats = messaging::connect(&config.nats).await?;
        let relay = Relay::default();
        let stopping = lifecycle.stopping();
        let publish = relay
            .clone()
            .run(schema.name, db.clone(), nats.clone(), stopping.clone());
        lifecycle.spawn(publish);
        let (watched, connections_max) = (db.clone(), config.database.max_connections);
        lifecycle.spawn(gauges::keep(stopping.clone(), move || {
            gauges::database(watched.clone(), connections_max)
        }));
        lifecycle.spawn(messaging::purge(db.clone(), stopping));
        Ok(Self {
            db,
            relay,
            nats,
            clock: Clock::System,
            lifecycle,
            schema,
            config,
            telemetry,
        })
    }

    /// Handles the events of a durable consumer in the background.
    pub fn consume<H: Handler>(&self, consumer: Consumer, handler: H) {
        let stopping = self.lifecycle.stopping();
        let nats = self.nats.clone();
        self.spawn_gauge(move || gauges::consumer(nats.clone(), consumer));
        self.lifecycle.spawn(consumer::run(
            consumer,
            handler,
            self.db.clone(),
            self.nats.clone(),
            stopping,
        ));
    }

    /// Looks up a gauge every few seconds until the service stops.
    pub fn spawn_gauge<F>(&self, look: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let stopping = self.lifecycle.stopping();
        self.lifecycle.spawn(gauges::keep(stopping, look));
    }

    /// Waits for the schema, serves until a signal, drains, and ends within the deadline.
    pub async fn serve(self, routes: Routes, names: &[&str]) -> anyhow::Result<()> {
        let shutdown = &self.config.process.shutdown;
        let lifecycle = self.lifecycle.clone();
        let db = self.db.clone();
        let schema = self.schema;
        tokio::spawn(async move {
            db::wait_until_migrated(&db, schema).await;
            lifecycle.set_ready();
        });
        let server = server::serve(self.config.grpc.listen, routes, names, &self.lifecycle);
        self.lifecycle.run_until_drained(server, shutdown).await?;
        self.telemetry.flush();
        Ok(())
    }
}
