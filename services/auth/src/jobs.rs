//! Periodic work of auth.

use std::sync::Arc;
use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::db::Database;
use tokio_util::sync::CancellationToken;

use crate::domain::claims::TokenLifetimes;
use crate::rotation::{KeyRotation, RELOAD_EVERY};
use crate::store::{registrations, revocations, used_codes};
use crate::tokens::TokenIssuer;

const PURGE_EVERY: Duration = Duration::from_mins(5);
/// The pause between attempts to load the first keys, without which nobody can log in.
const FIRST_KEYS_RETRY: Duration = Duration::from_millis(200);

/// Deletes the rows of expired tokens and codes until the service stops. May run on many replicas at once.
pub async fn purge_expired(
    db: Database,
    clock: Clock,
    lifetimes: TokenLifetimes,
    stopping: CancellationToken,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(PURGE_EVERY) => {}
            () = stopping.cancelled() => return,
        }
        if let Err(error) = revocations::purge(&db, clock.now()).await {
            tracing::warn!(%error, "failed to purge expired revocations; the next round will");
        }
        if let Err(error) = used_codes::purge(&db).await {
            tracing::warn!(%error, "failed to purge used codes; the next round will");
        }
        if let Err(error) = registrations::purge(&db, lifetimes.registration() * 2).await {
            tracing::warn!(%error, "failed to purge used registrations; the next round will");
        }
    }
}

/// Reloads the keys that operators choose until the service stops. While the database is unavailable, the
/// issuer continues with the keys that it has.
pub async fn follow_keys(
    rotation: KeyRotation,
    issuer: Arc<TokenIssuer>,
    stopping: CancellationToken,
) {
    let mut is_away = false;
    loop {
        let loaded = rotation.load_ring().await;
        if let Err(error) = &loaded
            && !is_away
        {
            tracing::warn!(
                error = format!("{error:#}"),
                "failed to load the signing keys; using those of before and retrying"
            );
        }
        is_away = loaded.is_err();
        if let Ok(ring) = loaded {
            let key_id = ring.signing_key_id().to_owned();
            if issuer.use_ring(ring) {
                tracing::info!(key_id, "signing with another key from now on");
            }
        }
        let pause = match issuer.current_ring() {
            Ok(_) => RELOAD_EVERY,
            Err(_) => FIRST_KEYS_RETRY,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopping.cancelled() => return,
        }
    }
}
