//! Presence: who is online and who is busy.
//!
//! [`domain`] decides what a change means to a status, whatever order changes are heard in;
//! [`changes`] makes changes within a transaction, for requests ([`statuses`]) and [`events`] alike;
//! [`heartbeats`] stores signs of life in groups; [`sweep`] finds who is gone without a word.

pub mod changes;
pub mod config;
pub mod domain;
pub mod events;
pub mod grpc;
pub mod heartbeats;
pub mod statuses;
pub mod store;
pub mod sweep;

use sqlx::migrate::Migrator;
use talktime_kit::Service;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{Plans, Schema};
use talktime_kit::grpc::client;
use talktime_kit::messaging::Consumer;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use talktime_proto::presence::v1::presence_service_server::{self, PresenceServiceServer};
use tonic::service::Routes;

use crate::config::Config;
use crate::events::Listening;
use crate::grpc::PresenceApi;
use crate::heartbeats::Heartbeats;
use crate::statuses::Statuses;
use crate::sweep::Sweeper;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Presence's schema.
pub const SCHEMA: Schema = Schema {
    name: "presence",
    migrations: &MIGRATIONS,
    plans: Plans::Once,
};

/// Whom presence listens to: names from the profile, logins from auth, calls.
const CONSUMERS: [Consumer; 3] = [
    Consumer {
        name: "presence-profile",
        filter: "events.profile.>",
    },
    Consumer {
        name: "presence-auth",
        filter: "events.auth.>",
    },
    Consumer {
        name: "presence-calls",
        filter: "events.calls.>",
    },
];

/// Runs presence until a signal.
pub async fn serve(service: ServiceConfig, config: Config) -> anyhow::Result<()> {
    let service = Service::start(service, SCHEMA).await?;
    let statuses = Statuses::new(
        service.db.clone(),
        service.relay.clone(),
        service.clock.clone(),
    );
    let (heartbeats, grouping) = Heartbeats::new(
        config.heartbeats,
        statuses.clone(),
        Some(service.nats.clone()),
    );
    service.lifecycle.spawn(grouping);
    for consumer in CONSUMERS {
        let listening = Listening::new(service.relay.clone(), service.clock.clone());
        service.consume(consumer, listening);
    }
    let sweeper = Sweeper::new(
        service.db.clone(),
        service.relay.clone(),
        service.clock.clone(),
        CallsServiceClient::new(client::connect(&config.peers.calls)?),
        config.sweep,
    );
    let stopping = service.lifecycle.stopping();
    service.lifecycle.spawn(sweeper.clone().run(stopping));
    let api = PresenceApi::new(statuses, heartbeats, sweeper);
    let routes = Routes::new(PresenceServiceServer::new(api));
    service
        .serve(routes, &[presence_service_server::SERVICE_NAME])
        .await
}
