//! The auth service: logins with a phone and a one-time password, and the tokens of sessions.
//!
//! [`domain`] holds the rules, [`store`] the statements and scripts, and [`tokens`] signs with the keys of a
//! [`keyring`]. [`attestation`] verifies that requests come from the app, [`login`], [`sessions`] and [`rotation`] are
//! the operations, and [`grpc`] serves the gateway.
//! The profile service stores which phones have an account.

#![allow(
    missing_docs,
    reason = "this crate is not published, and a comment that repeats a name explains nothing"
)]

pub mod admins;
pub mod attestation;
pub mod audit;
pub mod config;
pub mod consumers;
pub mod delivery;
pub mod domain;
pub mod events;
mod grpc;
mod jobs;
pub mod keyring;
pub mod login;
pub mod login_batch;
pub mod login_records;
mod metrics;
mod peer_batches;
pub mod peers;
pub mod restored;
pub mod rotation;
pub mod sessions;
pub mod store;
pub mod tokens;

use std::sync::Arc;

use sqlx::migrate::Migrator;
use talktime_kit::config::ServiceConfig;
use talktime_kit::db::{DatabaseSchema, PlanCacheMode};
use talktime_kit::export::{self, export_service};
use talktime_kit::tokens::SigningKeys;
use talktime_kit::{RunningService, redis};
use talktime_proto::auth::v1::auth_service_server::{self, AuthServiceServer};
use talktime_proto::events::consumers::AUTH_PROFILE;
use tonic::service::Routes;

use crate::admins::AdminAuthorizer;
use crate::attestation::AttestationGuard;
use crate::config::{AuditConfig, AuthConfig, TokenSigningConfig};
use crate::consumers::AuthEventHandler;
use crate::delivery::{OtpDelivery, OtpDeliveryAdapter};
use crate::domain::claims::TokenLifetimes;
use crate::domain::{OtpStorage, PhoneNumber};
use crate::events::SessionEventRecorder;
use crate::grpc::AuthGrpcApi;
use crate::jobs::purge::start_purge;
use crate::jobs::purge_audit_log::start_audit_purge;
use crate::jobs::reload_keys::start_key_reloads;
use crate::login::LoginService;
use crate::peers::{PresenceClient, ProfileClient};
use crate::rotation::SigningKeyRotation;
use crate::sessions::SessionService;
use crate::tokens::TokenIssuer;

static MIGRATIONS: Migrator = sqlx::migrate!();

/// Auth's schema.
pub const SCHEMA: DatabaseSchema = DatabaseSchema {
    name: "auth",
    migrations: &MIGRATIONS,
    plan_cache_mode: PlanCacheMode::ForceGeneric,
};

/// Runs auth until a signal.
pub async fn serve(service: ServiceConfig, config: AuthConfig) -> anyhow::Result<()> {
    config.audit.check()?;
    let environment = service.process.environment;
    let delivery = OtpDelivery::new(config.otp_delivery, config.sms, environment)?;
    let issuer = Arc::new(TokenIssuer::new(config.tokens.lifetimes));
    let service = RunningService::start(service, SCHEMA).await?;
    let rotation = SigningKeyRotation::new(service.db.clone(), &config.tokens)?;
    PhoneNumber::warm_up();

    let redis = redis::connect(&config.redis)?;
    metrics::register_metrics();
    let (refusals, queue) = audit::refusal_queue();
    let stopping = service.lifecycle.stopping();
    service
        .lifecycle
        .spawn(queue.run(service.db.clone(), stopping));
    let presence =
        PresenceClient::start(&service.lifecycle, &service.peers, &config.peers.presence)?;
    let sessions = SessionService {
        redis: redis.clone(),
        issuer: issuer.clone(),
        recorder: start_recorder(&service),
        refusals: refusals.clone(),
        presence,
        clock: service.clock.clone(),
        refresh_grace_secs: config.tokens.refresh_grace_secs,
    };
    let profile = ProfileClient::start(&service.lifecycle, &service.peers, &config.peers.profile)?;
    let admins = AdminAuthorizer {
        db: service.db.clone(),
        issuer: issuer.clone(),
        profile: profile.clone(),
        refusals: refusals.clone(),
        requires_reason: config.audit.require_reason,
        clock: service.clock.clone(),
    };
    let attestation = AttestationGuard::new(
        config.attestation,
        environment,
        redis.clone(),
        service.clock.clone(),
    )?;
    let login = LoginService {
        redis: redis.clone(),
        otp_storage: choose_otp_storage(config.otp_delivery, &config.tokens),
        otp_rules: config.otp,
        phone_rules: config.phones,
        delivery,
        refusals,
        issuer: issuer.clone(),
        profile,
        sessions: sessions.clone(),
        clock: service.clock.clone(),
    };
    let consumer = AuthEventHandler::new(
        redis,
        config.tokens.lifetimes,
        service.relay.clone(),
        service.clock.clone(),
    );
    service.consume(AUTH_PROFILE, consumer);
    start_purges(&service, config.tokens.lifetimes, config.audit);
    let keys = SigningKeys::without_auth();
    start_key_reloads(&service.lifecycle, rotation, issuer.clone(), keys.clone());
    let api = AuthGrpcApi::new(login, attestation, sessions, issuer, admins);
    let export = export_service(service.db.clone(), store::export::SECTIONS);
    let routes = Routes::new(AuthServiceServer::new(api)).add_service(export);
    let names = [auth_service_server::SERVICE_NAME, export::SERVICE_NAME];
    let users = service.guard_users_with(keys);
    service.serve(routes, &names, users).await
}

/// Returns the form in which one-time passwords are stored.
fn choose_otp_storage(delivery: OtpDeliveryAdapter, tokens: &TokenSigningConfig) -> OtpStorage {
    match delivery {
        // Nobody gets a message, so testers read the code where it is stored. Production does not start so.
        OtpDeliveryAdapter::Log => OtpStorage::Digits,
        OtpDeliveryAdapter::Sms => OtpStorage::hashed(&tokens.sealing_key),
    }
}

fn start_recorder(service: &RunningService) -> SessionEventRecorder {
    let (db, relay) = (service.db.clone(), service.relay.clone());
    SessionEventRecorder::start(&service.lifecycle, db, relay)
}

fn start_purges(service: &RunningService, lifetimes: TokenLifetimes, audit: AuditConfig) {
    let (lifecycle, db) = (&service.lifecycle, service.db.clone());
    start_purge(lifecycle, db.clone(), service.clock.clone(), lifetimes);
    if let Some(kept_months) = audit.kept_months {
        start_audit_purge(lifecycle, db, kept_months.into());
    }
}
