//! The profile service: users, their roles, favourites and blocks, and the feed of listeners.
//!
//! [`domain`] holds the rules and [`store`] the statements. [`users`], [`favorites`], [`blocks`], [`feed`] and
//! [`deletions`] are the operations, each in one transaction, and [`grpc`] serves the other services.
//! [`consumers`] and [`jobs`] keep the feed's read model equal to what the services in [`peers`] report.

#![allow(
    missing_docs,
    reason = "this crate is not published, and a comment that repeats a name explains nothing"
)]

pub mod admin_roles;
pub mod blocks;
pub mod config;
pub mod consumers;
pub mod deletions;
pub mod domain;
mod events;
pub mod favorites;
pub mod feed;
pub mod feed_replica;
pub mod grpc;
mod interest_keys;
pub mod jobs;
mod metrics;
pub mod peers;
pub mod phone_hash;
pub mod service;
pub mod store;
mod ttl_cache;
pub mod users;

use std::time::Duration;

use sqlx::migrate::Migrator;
use talktime_kit::RunningService;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{DatabaseSchema, PlanCacheMode};
use talktime_kit::export::{self, export_service};
use talktime_proto::events::consumers::{
    DurableConsumer, PROFILE_CALLS, PROFILE_PHOTOS, PROFILE_PRESENCE, PROFILE_RATINGS,
    PROFILE_VERIFICATION,
};
use talktime_proto::profile::v1::profile_service_server::{self, ProfileServiceServer};
use tonic::service::Routes;

use crate::config::ProfileConfig;
use crate::consumers::{FeedEventHandler, PhotoEventHandler, RatingEventHandler};
use crate::domain::{PublicTextPolicy, RequiredTermsVersion, ReservedNames};
use crate::feed_replica::FeedIndexReplica;
use crate::grpc::ProfileGrpcApi;
use crate::jobs::feed_check::FeedConsistencyCheck;
use crate::peers::{AuthClient, CallsClient, FeedSourceClients};
use crate::phone_hash::PhoneHasher;
use crate::service::{ProfileOperations, ProfileServiceParts};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Profile's schema.
pub const SCHEMA: DatabaseSchema = DatabaseSchema {
    name: "profile",
    migrations: &MIGRATIONS,
    plan_cache_mode: PlanCacheMode::Auto,
};

/// The consumers that feed the read model.
const FEED_CONSUMERS: [DurableConsumer; 3] =
    [PROFILE_PRESENCE, PROFILE_CALLS, PROFILE_VERIFICATION];

/// Runs profile until a signal.
pub async fn serve(service: ServiceConfig, config: ProfileConfig) -> anyhow::Result<()> {
    let phone_hasher = config.phone_hash_key.as_ref().map(PhoneHasher::new);
    let phone_hasher = phone_hasher.transpose()?;
    let service = RunningService::start(service, SCHEMA).await?;
    let (feed_index, refreshes) = FeedIndexReplica::new(service.db.clone());
    service.lifecycle.spawn(refreshes);
    let operations = ProfileOperations::new(ProfileServiceParts {
        db: service.db.clone(),
        feed_index: feed_index.clone(),
        relay: service.relay.clone(),
        clock: service.clock.clone(),
        auth: AuthClient::connect(&service.peers, &config.peers.auth)?,
        calls: CallsClient::connect(&service.peers, &config.peers.calls)?,
        counts_ttl: Duration::from_millis(config.feed.counts_last_ms),
        require_verified: config.require_verified_listeners,
        required_terms: RequiredTermsVersion::new(config.required_terms_version),
        refuse_external_images: config.refuse_external_images,
        text_policy: PublicTextPolicy::new(
            ReservedNames::with_names(config.reserved_names.split(',')),
            config.refuse_contact_details,
        ),
        phone_hasher,
    });
    let sources = FeedSourceClients::connect(&service.peers, &config.peers)?;
    let feed_check = FeedConsistencyCheck::new(service.db.clone(), sources, config.feed);
    for consumer in FEED_CONSUMERS {
        service.consume(consumer, FeedEventHandler);
    }
    service.consume(PROFILE_RATINGS, RatingEventHandler);
    service.consume(PROFILE_PHOTOS, PhotoEventHandler);
    metrics::register_metrics();
    jobs::start_deletion_sweep(&service.lifecycle, operations.deletions.clone());
    jobs::start_feed_index(&service.lifecycle, feed_index);
    jobs::start_removal_purge(&service.lifecycle, service.db.clone());
    jobs::start_feed_checks(&service.lifecycle, feed_check);
    let export = export_service(service.db.clone(), store::export::SECTIONS);
    let routes =
        Routes::new(ProfileServiceServer::new(ProfileGrpcApi::new(operations))).add_service(export);
    let names = [profile_service_server::SERVICE_NAME, export::SERVICE_NAME];
    let users = service.guard_users(&config.peers.auth)?;
    service.serve(routes, &names, users).await
}
