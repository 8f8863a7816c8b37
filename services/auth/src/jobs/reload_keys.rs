//! Reloads the signing keys, which operators choose.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use talktime_kit::tokens::SigningKeys;

use crate::rotation::{RELOAD_EVERY, SigningKeyRotation};
use crate::tokens::TokenIssuer;

const KEYS_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("auth.keys"),
    interval: RELOAD_EVERY,
    // Nobody can log in before the first keys are loaded.
    retry_after: Duration::from_millis(200),
    deadline: Duration::from_secs(10),
    first_turn: FirstTurnStart::AtOnce,
};

/// Reloads the keys that operators choose, until the service stops: `issuer` signs with them, and `keys` verifies the tokens
/// of requests. While the database is unavailable, both continue with the keys that they have.
pub(crate) fn start_key_reloads(
    lifecycle: &ProcessLifecycle,
    rotation: SigningKeyRotation,
    issuer: Arc<TokenIssuer>,
    keys: SigningKeys,
) {
    let rotation = Arc::new(rotation);
    periodic::start(lifecycle, KEYS_WORK, move || {
        reload_keys(rotation.clone(), issuer.clone(), keys.clone())
    });
}

async fn reload_keys(
    rotation: Arc<SigningKeyRotation>,
    issuer: Arc<TokenIssuer>,
    keys: SigningKeys,
) -> anyhow::Result<NextTurnStart> {
    let ring = rotation.load_ring().await;
    let ring = ring.context("failed to load the signing keys; using those of before")?;
    let key_id = ring.signing_key_id().to_owned();
    keys.replace(ring.jwks_json())?;
    if issuer.use_ring(ring) {
        tracing::info!(key_id, "signing with another key from now on");
    }
    Ok(NextTurnStart::AfterInterval)
}
