//! Verification: audio samples by which listeners prove themselves, photos of users, and exports of their data.
//!
//! [`domain`] decides which files are accepted and what reviews mean. [`store`] reads and writes the rows,
//! [`bucket`] the files; [`service`], [`samples`], [`photos`] and [`exports`] join them into operations. An upload is kept in
//! [`spool`] while [`probe`] judges it. [`jobs`] run periodically, and [`consumers`] delete the data
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
pub mod exports;
mod grpc;
pub mod jobs;
mod metrics;
pub mod peers;
pub mod photos;
pub mod probe;
pub mod samples;
pub mod service;
pub mod spool;
pub mod store;
pub mod uploads;

use sqlx::migrate::Migrator;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{self, DatabaseSchema, PlanCacheMode};
use talktime_kit::periodic::WorkWaker;
use talktime_kit::{Clock, RunningService};
use talktime_proto::events::consumers::VERIFICATION_PROFILE;
use talktime_proto::verification::v1::data_export_service_server::{self, DataExportServiceServer};
use talktime_proto::verification::v1::profile_photo_service_server::{
    self, ProfilePhotoServiceServer,
};
use talktime_proto::verification::v1::verification_service_server::{
    self, VerificationServiceServer,
};
use tonic::service::Routes;

use crate::bucket::ObjectBucket;
use crate::config::VerificationConfig;
use crate::consumers::UserDeletionHandler;
use crate::exports::UserExportService;
use crate::exports::build::DataExportBuilder;
use crate::grpc::{DataExportGrpcApi, PhotoGrpcApi, VerificationGrpcApi};
use crate::jobs::build_exports;
use crate::jobs::reconcile_bucket::{BucketDifferenceCounts, BucketReconciler};
use crate::jobs::watch_bucket;
use crate::peers::{ProfileClient, UserDataSource};
use crate::photos::UserPhotoService;
use crate::probe::{AudioProbe, PhotoRenderer};
use crate::service::{AudioSampleService, VerificationServiceParts};
use crate::spool::UploadSpool;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Verification's schema.
pub const SCHEMA: DatabaseSchema = DatabaseSchema {
    name: "verification",
    migrations: &MIGRATIONS,
    plan_cache_mode: PlanCacheMode::ForceGeneric,
};

/// Runs verification until SIGTERM or SIGINT.
pub async fn serve(service: ServiceConfig, config: VerificationConfig) -> anyhow::Result<()> {
    check_bucket(&service, &config)?;
    let service = RunningService::start(service, SCHEMA).await?;
    let bucket = ObjectBucket::new(&config.s3)?;
    start_jobs(&service, &bucket, &config);
    service.consume(VERIFICATION_PROFILE, UserDeletionHandler);
    let parts = build_parts(&service, bucket, &config)?;
    let sources = UserDataSource::connect_all(&service.peers, &config.peers)?;
    let spool_dir = config.uploads.spool_dir.clone();
    let builder = DataExportBuilder::new(parts.clone(), sources, spool_dir);
    build_exports::start(&service.lifecycle, &builder);
    let routes = build_routes(parts, &config)?;
    let names = [
        verification_service_server::SERVICE_NAME,
        profile_photo_service_server::SERVICE_NAME,
        data_export_service_server::SERVICE_NAME,
    ];
    let users = service.guard_users(&config.peers.auth)?;
    service.serve(routes, &names, users).await
}

/// Refuses an address of the bucket that is not encrypted.
fn check_bucket(service: &ServiceConfig, config: &VerificationConfig) -> anyhow::Result<()> {
    const ENDPOINT: &str = "TALKTIME_VERIFICATION__S3__ENDPOINT";
    config.s3.check(service.process.environment, ENDPOINT)
}

fn build_routes(
    parts: VerificationServiceParts,
    config: &VerificationConfig,
) -> anyhow::Result<Routes> {
    let program = std::env::current_exe()?;
    let renderer = PhotoRenderer::new(program, config.photos.renders_at_once);
    let photos = UserPhotoService::new(parts.clone(), renderer, &config.uploads, &config.photos);
    let exports = UserExportService::new(parts.clone());
    let samples = AudioSampleService::new(parts, &config.uploads);
    let samples = VerificationServiceServer::new(VerificationGrpcApi::new(samples));
    Ok(Routes::new(samples)
        .add_service(ProfilePhotoServiceServer::new(PhotoGrpcApi::new(photos)))
        .add_service(DataExportServiceServer::new(DataExportGrpcApi::new(
            exports,
        ))))
}

fn start_jobs(service: &RunningService, bucket: &ObjectBucket, config: &VerificationConfig) {
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
    service: &RunningService,
    bucket: ObjectBucket,
    config: &VerificationConfig,
) -> anyhow::Result<VerificationServiceParts> {
    let uploads = &config.uploads;
    Ok(VerificationServiceParts {
        db: service.db.clone(),
        relay: service.relay.clone(),
        clock: service.clock.clone(),
        bucket,
        profile: ProfileClient::connect(&service.peers, &config.peers.profile)?,
        spool: UploadSpool::new(uploads.spool_dir.clone(), uploads.at_once),
        probe: AudioProbe::new(std::env::current_exe()?, uploads.probes_at_once),
        requested_exports: WorkWaker::default(),
    })
}

/// Compares the rows with the objects of the bucket; fails if one exists without the other.
pub async fn verify(service: &ServiceConfig, config: &VerificationConfig) -> anyhow::Result<()> {
    check_bucket(service, config)?;
    let db = db::pool(SCHEMA, &service.database)?;
    let bucket = ObjectBucket::new(&config.s3)?;
    let reconciler = BucketReconciler::new(db, bucket, Clock::System, &config.reconciler);
    let differences = reconciler.find_differences().await?;
    anyhow::ensure!(
        differences == BucketDifferenceCounts::default(),
        "{differences:?}"
    );
    println!("every record has its object and every object its record");
    Ok(())
}
