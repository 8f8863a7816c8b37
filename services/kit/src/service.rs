//! A running service: the parts that all services share.

use crate::db::{DatabasePool, StandbyReads};
use talktime_proto::access::find_callers;
use talktime_proto::access::v1::Workload;
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use talktime_proto::events::consumers::DurableConsumer;
use tonic::service::Routes;

use crate::clock::Clock;
use crate::config::{DeploymentEnvironment, ServiceConfig};
use crate::db::{self, DatabaseSchema};
use crate::gauges;
use crate::grpc::UserGuard;
use crate::grpc::client::PeerConnector;
use crate::grpc::server::{self, ServerParts};
use crate::identity::WorkloadIdentity;
use crate::lifecycle::ProcessLifecycle;
use crate::messaging::{self, EventHandler, EventSource, Relay, consumer, relay};
use crate::ops;
use crate::partitions;
use crate::telemetry::{self, TelemetryGuard};
use crate::tokens::SigningKeys;

/// A service between its start and its stop.
pub struct RunningService {
    /// The connections of the app role.
    pub db: DatabasePool,
    /// Reads that may lag, of histories and summaries.
    pub reads: StandbyReads,
    /// Wakes the relay of the outbox after a commit with events.
    pub relay: Relay,
    /// NATS, for broadcasts whose loss does no harm.
    pub nats: async_nats::Client,
    /// The clock of the system.
    pub clock: Clock,
    /// Readiness and shutdown.
    pub lifecycle: ProcessLifecycle,
    /// Connects to other services under the identity of this one.
    pub peers: PeerConnector,
    identity: WorkloadIdentity,
    schema: DatabaseSchema,
    config: ServiceConfig,
    telemetry: TelemetryGuard,
}

impl RunningService {
    /// Starts telemetry, the operations port, the pool, NATS and the relay of the outbox. Does not wait until
    /// the database or NATS answer.
    ///
    /// # Errors
    /// The configuration is invalid, the certificate cannot be read, or the operations port is in use.
    pub async fn start(config: ServiceConfig, schema: DatabaseSchema) -> anyhow::Result<Self> {
        let telemetry = telemetry::init(schema.name, &config.process.telemetry)?;
        let lifecycle = ProcessLifecycle::default();
        ops::listen(
            config.process.ops.listen,
            lifecycle.clone(),
            telemetry.metrics.clone(),
        )
        .await?;
        let identity = WorkloadIdentity::load(&config.process.identity, &lifecycle)?;
        let db = db::pool(schema, &config.database)?;
        let reads = db::standby_reads(schema, &config.database, db.clone())?;
        reads.start_observing(&lifecycle);
        let nats = messaging::connect(&config.nats, schema.name).await?;
        let relay = Relay::default();
        lifecycle.spawn(relay.clone().run(
            EventSource::of_service(schema.name),
            db.clone(),
            nats.clone(),
            lifecycle.register_loop("outbox.relay", relay::TURN_MAX),
            lifecycle.stopping(),
        ));
        let (watched, connections_max) = (db.clone(), config.database.max_connections);
        telemetry.metrics.add_gauge("database", move || {
            gauges::measure_database(watched.clone(), connections_max)
        });
        messaging::start_purge(&lifecycle, db.clone());
        partitions::start_adding(&lifecycle, db.clone());
        Ok(Self {
            db,
            reads,
            relay,
            nats,
            clock: Clock::System,
            lifecycle,
            peers: PeerConnector::new(identity.clone()),
            identity,
            schema,
            config,
            telemetry,
        })
    }

    /// Handles the events of a durable consumer in the background.
    pub fn consume<H: EventHandler>(&self, consumer: DurableConsumer, handler: H) {
        let stopping = self.lifecycle.stopping();
        let nats = self.nats.clone();
        self.add_gauge(consumer.name, move || {
            gauges::measure_consumer(nats.clone(), consumer)
        });
        self.lifecycle.spawn(consumer::run(
            consumer,
            handler,
            self.db.clone(),
            self.nats.clone(),
            self.lifecycle
                .register_loop(format!("consumer.{}", consumer.name), consumer::TURN_MAX),
            stopping,
        ));
    }

    /// Measures the gauge `name` when the metrics are read. A failed measurement leaves it as it was.
    pub fn add_gauge<F>(&self, name: &str, measure: impl FnMut() -> F + Send + 'static)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.telemetry.metrics.add_gauge(name, measure);
    }

    /// Returns what proves for whom requests are made, with the keys of auth at `https://host:port`.
    ///
    /// # Errors
    /// The address is not valid.
    pub fn guard_users(&self, auth_url: &str) -> anyhow::Result<UserGuard> {
        let auth = AuthServiceClient::new(self.peers.connect(Workload::Auth, auth_url)?);
        let keys = SigningKeys::new(auth.clone());
        keys.start_refreshing(&self.lifecycle);
        let requires_tokens = self.config.grpc.require_user_tokens;
        Ok(UserGuard::new(
            auth,
            keys,
            requires_tokens,
            self.clock.clone(),
        ))
    }

    /// Returns what proves for whom requests to auth are made, with its own keys.
    pub fn guard_users_with(&self, keys: SigningKeys) -> UserGuard {
        let requires_tokens = self.config.grpc.require_user_tokens;
        UserGuard::of_auth(keys, requires_tokens, self.clock.clone())
    }

    /// Serves until SIGTERM or SIGINT, drains, and ends within the deadline. `users` proves for whom requests are made.
    /// The service becomes ready when its schema is migrated.
    ///
    /// # Errors
    /// The gRPC port is in use, or the signal handlers cannot be installed.
    pub async fn serve(
        self,
        routes: Routes,
        names: &[&str],
        users: UserGuard,
    ) -> anyhow::Result<()> {
        let shutdown = &self.config.process.shutdown;
        let lifecycle = self.lifecycle.clone();
        let db = self.db.clone();
        let schema = self.schema;
        tokio::spawn(async move {
            db::wait_until_migrated(&db, schema).await;
            lifecycle.set_ready();
        });
        let parts = ServerParts {
            listen: self.config.grpc.listen,
            identity: self.identity.clone(),
            find_callers,
            users,
            serves_reflection: self.config.process.environment
                == DeploymentEnvironment::Development,
        };
        let server = Box::pin(server::serve(parts, routes, names, &self.lifecycle));
        self.lifecycle.run_until_drained(server, shutdown).await?;
        self.telemetry.flush();
        Ok(())
    }
}
