//! Drops the months of the audit log that the operator does not keep any longer.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::db::DatabasePool;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::store::audit_log;

const PURGE_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("auth.audit_months"),
    interval: Duration::from_hours(1),
    // A lock that is not there at once is given up.
    retry_after: Duration::from_mins(1),
    deadline: Duration::from_secs(30),
    first_turn: FirstTurnStart::AfterInterval,
};

/// Drops old months every hour until the process stops. May run on many replicas at once.
pub(crate) fn start_audit_purge(lifecycle: &ProcessLifecycle, db: DatabasePool, kept_months: i32) {
    periodic::start(lifecycle, PURGE_WORK, move || {
        drop_months(db.clone(), kept_months)
    });
}

async fn drop_months(db: DatabasePool, kept_months: i32) -> anyhow::Result<NextTurnStart> {
    let dropped = audit_log::drop_months(&db, kept_months).await;
    let dropped = dropped.context("failed to drop old months of the audit log")?;
    if dropped > 0 {
        tracing::info!(dropped, kept_months, "dropped old months of the audit log");
    }
    Ok(NextTurnStart::AfterInterval)
}
