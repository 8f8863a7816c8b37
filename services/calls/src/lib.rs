//! Calls from ring to receipt. Each minute is paid before it is talked.
//!
//! A call is a saga in one row ([`saga`]), which either the request drives or, after a crash, the sweeper.
//! [`domain`] decides the next step.

#![allow(
    missing_docs,
    reason = "unpublished: names of fields and variants describe them"
)]

pub mod badges;
mod bulk_lookups;
pub mod config;
mod consumers;
pub mod domain;
mod events;
mod grpc;
pub mod history;
mod jobs;
mod listener_card;
mod media;
mod media_config;
mod metrics;
mod peers;
mod ratings;
pub mod relay_agent;
mod relay_reports;
mod ring_events;
mod ring_states;
mod ringing_config;
pub mod saga;
pub mod service;
mod service_parts;
pub mod store;
mod tracking;

use sqlx::migrate::Migrator;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{DatabaseSchema, PlanCacheMode};
use talktime_kit::export::{self, export_service};
use talktime_kit::{RunningService, redis};
use talktime_proto::calls::v1::calls_service_server::{self, CallsServiceServer};
use talktime_proto::calls::v1::relay_service_server::{self, RelayServiceServer};
use talktime_proto::events::consumers::CALLS_PROFILE;
use tonic::service::Routes;

use crate::badges::BadgeService;
use crate::config::CallsConfig;
use crate::consumers::CallsEventHandler;
use crate::grpc::{CallsGrpcApi, RelayApi};
use crate::jobs::cleanup::start_cleanup;
use crate::jobs::media_watch::start_media_watch;
use crate::jobs::nightly_badges::start_nightly_assignment;
use crate::jobs::silence_watch::start_silence_watch;
use crate::jobs::sweeper::start_sweeper;
use crate::media::relay_credentials::CredentialSigner;
use crate::media::relay_directory::RelayDirectory;
use crate::media_config::{MediaConfig, MediaEngine};
use crate::peers::PeerClients;
use crate::service::CallService;
use crate::service_parts::CallServiceParts;
use crate::tracking::LiveCallTracker;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Database schema of the calls service.
pub const SCHEMA: DatabaseSchema = DatabaseSchema {
    name: "calls",
    migrations: &MIGRATIONS,
    plan_cache_mode: PlanCacheMode::ForceGeneric,
};

/// Runs the calls service until it receives a signal to stop.
pub async fn serve(service: ServiceConfig, config: CallsConfig) -> anyhow::Result<()> {
    config.validate(service.process.environment)?;
    let service = RunningService::start(service, SCHEMA).await?;
    let terms = config.call_terms();
    let badges = BadgeService::new(service.db.clone(), service.clock.clone(), terms.badges);
    let calls = CallService::new(CallServiceParts {
        db: service.db.clone(),
        reads: service.reads.clone(),
        relay: service.relay.clone(),
        clock: service.clock.clone(),
        peers: PeerClients::connect(&service.peers, &config.peers)?,
        tracking: LiveCallTracker::new(redis::connect(&config.redis)?),
        nats: service.nats.clone(),
        credentials: build_signer(&config.media)?,
        relays: RelayDirectory::new(&config.media.turn.hosts),
        lifecycle: service.lifecycle.clone(),
        terms,
    });
    service.consume(CALLS_PROFILE, CallsEventHandler::new(calls.clone()));
    metrics::register_metrics();
    start_cleanup(&service.lifecycle, &service.db);
    let db = service.db.clone();
    service.add_gauge("calls_live", move || metrics::update_live_gauge(db.clone()));
    start_sweeper(&service.lifecycle, calls.clone());
    start_silence_watch(&service.lifecycle, calls.clone());
    if config.media.engine != MediaEngine::None {
        start_media_watch(&service.lifecycle, calls.clone());
    }
    start_nightly_assignment(&service.lifecycle, badges.clone(), service.clock.clone());
    let export = export_service(service.db.clone(), store::export::SECTIONS);
    let relay_api = RelayServiceServer::new(RelayApi::new(calls.clone()));
    let routes = Routes::new(CallsServiceServer::new(CallsGrpcApi::new(calls, badges)))
        .add_service(relay_api)
        .add_service(export);
    let names = [
        calls_service_server::SERVICE_NAME,
        relay_service_server::SERVICE_NAME,
        export::SERVICE_NAME,
    ];
    let users = service.guard_users(&config.peers.auth)?;
    service.serve(routes, &names, users).await
}

fn build_signer(config: &MediaConfig) -> anyhow::Result<Option<CredentialSigner>> {
    if config.engine == MediaEngine::None {
        return Ok(None);
    }
    let secrets = config.load_secrets()?;
    let credential_secs = config.turn.credential_secs;
    let signer = |secret| CredentialSigner::new(secret, credential_secs);
    Ok(secrets.first().map(signer))
}
