//! Presence: who is online and who is busy.
//!
//! [`domain`] decides how a change affects a status, whatever the order in which changes arrive.
//! [`changes`] applies changes within a transaction, for requests ([`statuses`]) and [`consumers`] alike.
//! [`heartbeats`] stores heartbeats in batches and [`session_changes`] logins, and the sweep in [`jobs`] finds users who left
//! without a logout.

#![allow(
    missing_docs,
    reason = "fields whose name says everything have no doc comment"
)]

pub mod changes;
pub mod config;
pub mod consumers;
pub mod domain;
mod events;
pub mod grpc;
pub mod heartbeats;
pub mod jobs;
mod metrics;
pub mod peers;
pub mod session_changes;
pub mod statuses;
pub mod store;

use sqlx::migrate::Migrator;
use talktime_kit::RunningService;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{DatabaseSchema, PlanCacheMode};
use talktime_kit::export::{self, export_service};
use talktime_proto::presence::v1::presence_service_server::{self, PresenceServiceServer};
use tonic::service::Routes;

use crate::config::PresenceConfig;
use crate::consumers::{CONSUMERS, PresenceEventHandler};
use crate::grpc::PresenceGrpcApi;
use crate::heartbeats::HeartbeatRecorder;
use crate::jobs::sweep::StatusSweeper;
use crate::peers::CallsClient;
use crate::session_changes::SessionChangeRecorder;
use crate::statuses::StatusService;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Presence's schema.
pub const SCHEMA: DatabaseSchema = DatabaseSchema {
    name: "presence",
    migrations: &MIGRATIONS,
    plan_cache_mode: PlanCacheMode::ForceGeneric,
};

/// Runs presence until SIGTERM or SIGINT.
pub async fn serve(service: ServiceConfig, config: PresenceConfig) -> anyhow::Result<()> {
    let service = RunningService::start(service, SCHEMA).await?;
    metrics::register_metrics();
    let statuses = StatusService::new(
        service.db.clone(),
        service.relay.clone(),
        service.clock.clone(),
    );
    let (heartbeats, heartbeat_worker) = HeartbeatRecorder::new(
        config.heartbeats,
        statuses.clone(),
        Some(service.nats.clone()),
    );
    service.lifecycle.spawn(heartbeat_worker);
    for consumer in CONSUMERS {
        let handler = PresenceEventHandler::new(service.relay.clone(), service.clock.clone());
        service.consume(consumer, handler);
    }
    let sweeper = StatusSweeper::new(
        service.db.clone(),
        service.relay.clone(),
        service.clock.clone(),
        CallsClient::connect(&service.peers, &config.peers.calls)?,
        config.sweep,
    );
    sweeper.clone().start(&service.lifecycle);
    let sessions = SessionChangeRecorder::start(&service.lifecycle, statuses.clone());
    let api = PresenceGrpcApi::new(statuses, heartbeats, sessions, sweeper);
    let export = export_service(service.db.clone(), store::export::SECTIONS);
    let routes = Routes::new(PresenceServiceServer::new(api)).add_service(export);
    let names = [presence_service_server::SERVICE_NAME, export::SERVICE_NAME];
    let users = service.guard_users(&config.peers.auth)?;
    service.serve(routes, &names, users).await
}
