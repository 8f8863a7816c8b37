//! Anchors the ends of the chains outside the database, on one replica at a time.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta};
use talktime_kit::Clock;
use talktime_kit::db::DatabasePool;
use talktime_kit::lease::Lease;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::anchors::{AnchorLog, find_rewritten, list_heads_since};
use crate::metrics;

/// The name of the lease and of the periodic work.
const LEASE_NAME: &str = "wallet.anchor";
/// The pause after a turn that failed, for example while the bucket does not answer.
const RETRY_AFTER: Duration = Duration::from_mins(1);
/// Time limit of a turn. The first one reads the head of every wallet and writes many anchors.
const TURN_TIMEOUT: Duration = Duration::from_hours(1);
/// Heads are read again for so long before the last anchor: a transfer may be committed later than its time says, and
/// clocks of replicas differ.
const OVERLAP: TimeDelta = TimeDelta::minutes(10);

/// Anchors at the start and then at every interval until the service stops.
pub(crate) fn start_anchoring(
    lifecycle: &ProcessLifecycle,
    db: DatabasePool,
    log: AnchorLog,
    clock: Clock,
    every: Duration,
) {
    metrics::register_anchors();
    let work = PeriodicWork {
        name: LEASE_NAME.into(),
        interval: every,
        retry_after: every.min(RETRY_AFTER),
        deadline: TURN_TIMEOUT,
        first_turn: FirstTurnStart::AtOnce,
    };
    let log = Arc::new(log);
    periodic::start(lifecycle, work, move || {
        let (db, log, clock) = (db.clone(), log.clone(), clock.clone());
        async move {
            let anchored = anchor_once(&db, &log, &clock, every).await;
            anchored.context("failed to anchor the chains")?;
            Ok(NextTurnStart::AfterInterval)
        }
    });
}

/// Compares the newest anchor with the chains and appends the next one, unless another replica is doing so or has done so
/// within half an interval: each replica has turns of its own.
async fn anchor_once(
    db: &DatabasePool,
    log: &AnchorLog,
    clock: &Clock,
    every: Duration,
) -> anyhow::Result<()> {
    let Some(mut lease) = Lease::try_take(db, LEASE_NAME).await? else {
        return Ok(());
    };
    let last = log.find_last().await?;
    let mut complete_until = DateTime::UNIX_EPOCH;
    if let Some(last) = &last {
        complete_until = log.find_complete_until(&last.anchor).await?;
        let rewritten = find_rewritten(lease.connection(), &last.anchor).await?;
        for difference in &rewritten {
            tracing::error!(
                difference,
                "a chain was rewritten; compare all anchors as docs/runbooks/wallet.md describes"
            );
        }
        metrics::record_anchor_differences(rewritten.len());
    }
    let now = clock.now();
    let age = (now - complete_until).to_std().unwrap_or_default();
    if age < every / 2 {
        return Ok(lease.release().await?);
    }
    let heads = list_heads_since(lease.connection(), complete_until - OVERLAP).await?;
    log.append(last, &heads, false, now).await?;
    metrics::record_anchor();
    lease.release().await?;
    Ok(())
}
