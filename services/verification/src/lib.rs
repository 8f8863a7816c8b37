//! Verification: audio samples by which listeners prove themselves.
//!
//! [`domain`] says what samples make of a listener, [`store`] keeps them, [`objects`] holds the
//! audio, [`verifications`] joins these into operations, [`events`] forgets people who are gone.

pub mod config;
pub mod domain;
pub mod events;
mod grpc;
pub mod objects;
pub mod peers;
pub mod store;
pub mod verifications;

use sqlx::migrate::Migrator;
use talktime_kit::Service;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::Schema;
use talktime_kit::messaging::Consumer;
use talktime_proto::verification::v1::verification_service_server::{
    self, VerificationServiceServer,
};
use tonic::service::Routes;

use crate::config::Config;
use crate::events::ProfileEvents;
use crate::grpc::VerificationApi;
use crate::objects::Bucket;
use crate::peers::Profile;
use crate::verifications::Verifications;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Verification's schema.
pub const SCHEMA: Schema = Schema {
    name: "verification",
    migrations: &MIGRATIONS,
};

const PROFILE_EVENTS: Consumer = Consumer {
    name: "verification-profile",
    filter: "events.profile.>",
};

/// Runs verification until a signal.
pub async fn serve(service: ServiceConfig, config: Config) -> anyhow::Result<()> {
    let service = Service::start(service, SCHEMA).await?;
    let bucket = Bucket::new(&config.s3);
    service
        .lifecycle
        .spawn(bucket.clone().watch(service.lifecycle.stopping()));
    service.consume(PROFILE_EVENTS, ProfileEvents);
    let profile = Profile::connect(&config.peers.profile)?;
    let verifications = Verifications::new(service.db.clone(), bucket, profile);
    let api = VerificationApi::new(verifications);
    let routes = Routes::new(VerificationServiceServer::new(api));
    service
        .serve(routes, &[verification_service_server::SERVICE_NAME])
        .await
}
