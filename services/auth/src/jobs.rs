//! Periodic work of auth.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::Clock;
use talktime_kit::db::Database;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::periodic::{self, FirstTurn, NextTurn, PeriodicWork};

use crate::domain::claims::TokenLifetimes;
use crate::rotation::{KeyRotation, RELOAD_EVERY};
use crate::store::{registrations, revocations, used_codes};
use crate::tokens::TokenIssuer;

const PURGE_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("auth.purge"),
    interval: Duration::from_mins(5),
    retry_after: Duration::from_mins(1),
    deadline: Duration::from_mins(1),
    first_turn: FirstTurn::AfterInterval,
};
const KEYS_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("auth.keys"),
    interval: RELOAD_EVERY,
    // Nobody can log in before the first keys are loaded.
    retry_after: Duration::from_millis(200),
    deadline: Duration::from_secs(10),
    first_turn: FirstTurn::AtOnce,
};

/// Deletes the rows of expired tokens and codes until the service stops. May run on many replicas at once.
pub fn start_purge(
    lifecycle: &Lifecycle,
    db: Database,
    clock: Clock,
    token_lifetimes: TokenLifetimes,
) {
    periodic::start(lifecycle, PURGE_WORK, move || {
        purge_expired(db.clone(), clock.clone(), token_lifetimes)
    });
}

/// Purges each table, even if another one fails.
async fn purge_expired(
    db: Database,
    clock: Clock,
    token_lifetimes: TokenLifetimes,
) -> anyhow::Result<NextTurn> {
    let revocations = revocations::purge(&db, clock.now()).await;
    let used_codes = used_codes::purge(&db).await;
    let registrations = registrations::purge(&db, token_lifetimes.registration() * 2).await;
    revocations.context("failed to purge expired revocations")?;
    used_codes.context("failed to purge used codes")?;
    registrations.context("failed to purge used registrations")?;
    Ok(NextTurn::AfterInterval)
}

/// Reloads the keys that operators choose until the service stops. While the database is unavailable, the
/// issuer continues with the keys that it has.
pub fn start_key_reloads(lifecycle: &Lifecycle, rotation: KeyRotation, issuer: Arc<TokenIssuer>) {
    let rotation = Arc::new(rotation);
    periodic::start(lifecycle, KEYS_WORK, move || {
        reload_keys(rotation.clone(), issuer.clone())
    });
}

async fn reload_keys(
    rotation: Arc<KeyRotation>,
    issuer: Arc<TokenIssuer>,
) -> anyhow::Result<NextTurn> {
    let ring = rotation.load_ring().await;
    let ring = ring.context("failed to load the signing keys; using those of before")?;
    let key_id = ring.signing_key_id().to_owned();
    if issuer.use_ring(ring) {
        tracing::info!(key_id, "signing with another key from now on");
    }
    Ok(NextTurn::AfterInterval)
}
