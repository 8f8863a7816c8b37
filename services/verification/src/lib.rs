//! Verification: audio samples by which listeners prove themselves.
//!
//! [`domain`] decides which samples are accepted and what reviews mean for a listener. [`store`] reads and
//! writes the rows, [`bucket`] the audio; [`service`] and [`samples`] join them into operations. An upload is
//! kept in [`spool`] while [`probe`] judges it. [`jobs`] run periodically, and [`consumers`] delete the data
//! of deleted users.

#![allow(
    missing_docs,
    reason = "fields whose name says everything have no doc comment"
)]

pub mod bucket;
pub mod config;
pub mod consumers;
pub mod domain;
mod events;
mod grpc;
pub mod jobs;
mod metrics;
pub mod peers;
pub mod probe;
pub mod samples;
pub mod service;
pub mod spool;
pub mod store;

use sqlx::migrate::Migrator;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{self, PlanCacheMode, Schema};
use talktime_kit::messaging::Consumer;
use talktime_kit::{Clock, Service};
use talktime_proto::verification::v1::verification_service_server::{
    self, VerificationServiceServer,
};
use tonic::service::Routes;

use crate::bucket::ObjectBucket;
use crate::config::Config;
use crate::consumers::EventConsumer;
use crate::grpc::VerificationApi;
use crate::jobs::reconcile_bucket::{BucketDifferences, BucketReconciler};
use crate::jobs::watch_bucket;
use crate::peers::ProfileClient;
use crate::probe::AudioProbe;
use crate::service::{SampleService, ServiceParts};
use crate::spool::UploadSpool;

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

/// Runs verification until SIGTERM or SIGINT.
pub async fn serve(service: ServiceConfig, config: Config) -> anyhow::Result<()> {
    let service = Service::start(service, SCHEMA).await?;
    let bucket = ObjectBucket::new(&config.s3);
    start_jobs(&service, &bucket, &config);
    service.consume(PROFILE_EVENTS, EventConsumer);
    let parts = build_parts(&service, bucket, &config)?;
    let samples = SampleService::new(parts, &config.uploads);
    let routes = Routes::new(VerificationServiceServer::new(VerificationApi::new(
        samples,
    )));
    service
        .serve(routes, &[verification_service_server::SERVICE_NAME])
        .await
}

fn start_jobs(service: &Service, bucket: &ObjectBucket, config: &Config) {
    watch_bucket::start(&service.lifecycle, bucket.clone());
    let reconciler = BucketReconciler::new(
        service.db.clone(),
        bucket.clone(),
        service.clock.clone(),
        &config.reconciler,
    );
    reconciler.start(&service.lifecycle);
}

fn build_parts(
    service: &Service,
    bucket: ObjectBucket,
    config: &Config,
) -> anyhow::Result<ServiceParts> {
    let uploads = &config.uploads;
    Ok(ServiceParts {
        db: service.db.clone(),
        relay: service.relay.clone(),
        clock: service.clock.clone(),
        bucket,
        profile: ProfileClient::connect(&config.peers.profile)?,
        spool: UploadSpool::new(uploads.spool_dir.clone(), uploads.at_once),
        probe: AudioProbe::new(std::env::current_exe()?, uploads.probes_at_once),
    })
}

/// Compares the rows with the objects of the bucket; fails if one exists without the other.
pub async fn verify(service: &ServiceConfig, config: &Config) -> anyhow::Result<()> {
    let db = db::pool(SCHEMA, &service.database)?;
    let bucket = ObjectBucket::new(&config.s3);
    let reconciler = BucketReconciler::new(db, bucket, Clock::System, &config.reconciler);
    let differences = reconciler.find_differences().await?;
    anyhow::ensure!(
        differences == BucketDifferences::default(),
        "{differences:?}"
    );
    println!("every record has its object and every object its record");
    Ok(())
}
