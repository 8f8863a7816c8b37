//! Deletes the rows of expired tokens and codes.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::Clock;
use talktime_kit::db::DatabasePool;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::domain::claims::TokenLifetimes;
use crate::store::{registrations, revocations, used_codes};

const PURGE_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("auth.purge"),
    interval: Duration::from_mins(5),
    retry_after: Duration::from_mins(1),
    deadline: Duration::from_mins(1),
    first_turn: FirstTurnStart::AfterInterval,
};

/// Deletes the rows of expired tokens and codes until the service stops. May run on many replicas at once.
pub(crate) fn start_purge(
    lifecycle: &ProcessLifecycle,
    db: DatabasePool,
    clock: Clock,
    token_lifetimes: TokenLifetimes,
) {
    periodic::start(lifecycle, PURGE_WORK, move || {
        purge_expired(db.clone(), clock.clone(), token_lifetimes)
    });
}

/// Purges each table, even if another one fails.
async fn purge_expired(
    db: DatabasePool,
    clock: Clock,
    token_lifetimes: TokenLifetimes,
) -> anyhow::Result<NextTurnStart> {
    let revocations = revocations::purge(&db, clock.now()).await;
    let used_codes = used_codes::purge(&db).await;
    let registrations = registrations::purge(&db, token_lifetimes.registration() * 2).await;
    revocations.context("failed to purge expired revocations")?;
    used_codes.context("failed to purge used codes")?;
    registrations.context("failed to purge used registrations")?;
    Ok(NextTurnStart::AfterInterval)
}
