//! Verification: audio samples by which listeners prove themselves.
//!
//! [`domain`] says what a sample may be and what samples make of a listener, [`store`] keeps rows,
//! [`objects`] the audio, [`verifications`] joins these into operations. On its way in a sample lies
//! in [`spool`] and is judged by [`probe`]. [`reconciler`] removes what nobody refers to, [`events`]
//! forgets people who are gone.

pub mod config;
pub mod domain;
pub mod events;
mod grpc;
pub mod objects;
pub mod peers;
pub mod probe;
pub mod reconciler;
pub mod spool;
pub mod store;
pub mod verifications;

use std::time::Duration;

use sqlx::migrate::Migrator;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{self, PlanCacheMode, Schema};
use talktime_kit::messaging::Consumer;
use talktime_kit::{Clock, Service};
use talktime_proto::verification::v1::verification_service_server::{
    self, VerificationServiceServer,
};
use tonic::service::Routes;

use crate::config::Config;
use crate::events::ProfileEvents;
use crate::grpc::VerificationApi;
use crate::objects::Bucket;
use crate::peers::Profile;
use crate::probe::Prober;
use crate::reconciler::{Differences, Reconciler};
use crate::spool::Spool;
use crate::verifications::{Parts, Verifications};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Verification's schema.
pub const SCHEMA: Schema = Schema {
    name: "verification",
    migrations: &MIGRATIONS,
    plan_cache_mode: PlanCacheMode::ForceGeneric,
};

const PROFILE_EVENTS: Consumer = Consumer {
    name: "verification-profile",
    filter: "events.profile.>",
};

/// Runs verification until a signal.
pub async fn serve(service: ServiceConfig, config: Config) -> anyhow::Result<()> {
    let service = Service::start(service, SCHEMA).await?;
    let bucket = Bucket::new(&config.s3);
    let stopping = service.lifecycle.stopping();
    let watch = bucket.clone().watch(stopping.clone());
    service.lifecycle.spawn(watch);
    service.consume(PROFILE_EVENTS, ProfileEvents);
    let reconciler = Reconciler::new(
        service.db.clone(),
        bucket.clone(),
        service.clock.clone(),
        &config.reconciler,
    );
    service.lifecycle.spawn(reconciler.run(stopping));
    let uploads = &config.uploads;
    let parts = Parts {
        db: service.db.clone(),
        relay: service.relay.clone(),
        clock: service.clock.clone(),
        bucket,
        profile: Profile::connect(&config.peers.profile)?,
        spool: Spool::new(uploads.spool_dir.clone(), uploads.at_once),
        prober: Prober::new(std::env::current_exe()?, uploads.probes_at_once),
    };
    let ticket_lasts = Duration::from_secs(uploads.ticket_secs.into());
    let verifications = Verifications::new(parts, &uploads.allowed_hosts, ticket_lasts);
    let api = VerificationApi::new(verifications);
    let routes = Routes::new(VerificationServiceServer::new(api));
    service
        .serve(routes, &[verification_service_server::SERVICE_NAME])
        .await
}

/// Compares records and objects; an error where one is without the other.
pub async fn verify(service: &ServiceConfig, config: &Config) -> anyhow::Result<()> {
    let db = db::pool(SCHEMA, &service.database)?;
    let bucket = Bucket::new(&config.s3);
    let reconciler = Reconciler::new(db, bucket, Clock::System, &config.reconciler);
    let differences = reconciler.compare().await?;
    anyhow::ensure!(differences == Differences::default(), "{differences:?}");
    println!("every record has its object and every object its record");
    Ok(())
}
