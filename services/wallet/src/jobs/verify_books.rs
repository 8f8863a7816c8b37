//! Verifies the books, on one replica at a time.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::Error;
use talktime_kit::db::DatabasePool;
use talktime_kit::lease::Lease;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::metrics;
use crate::store::{accounts, audits};

/// The name of the lease and of the periodic work.
const LEASE_NAME: &str = "wallet.verify";
/// The pause after a failed verification, for example before the database is reachable.
const VERIFY_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Time limit of a verification, which reads the whole journal.
const VERIFY_TIMEOUT: Duration = Duration::from_hours(1);
/// Maximum number of differences that one verification logs.
const LOGGED_MAX: usize = 20;

/// Verifies the books at the start and then at every interval until the service stops.
pub(crate) fn start_verification(lifecycle: &ProcessLifecycle, db: DatabasePool, every: Duration) {
    let work = PeriodicWork {
        name: Cow::Borrowed(LEASE_NAME),
        interval: every,
        retry_after: every.min(VERIFY_RETRY_AFTER),
        deadline: VERIFY_TIMEOUT,
        first_turn: FirstTurnStart::AtOnce,
    };
    periodic::start(lifecycle, work, move || {
        let db = db.clone();
        async move {
            let verified = verify_once(&db).await;
            verified.context("failed to verify the books")?;
            Ok(NextTurnStart::AfterInterval)
        }
    });
}

/// Verifies the books once, unless another replica is doing so, and records the result in metrics.
async fn verify_once(db: &DatabasePool) -> Result<(), Error> {
    let Some(mut lease) = Lease::try_take(db, LEASE_NAME).await? else {
        return Ok(());
    };
    let differences = accounts::find_differences(lease.connection()).await?;
    for difference in differences.iter().take(LOGGED_MAX) {
        tracing::error!(
            difference,
            "the books are inconsistent; find the transfer as docs/runbooks/wallet.md describes"
        );
    }
    let debt_coins = audits::sum_closed_debt_coins(lease.connection()).await?;
    metrics::record_verification(differences.len(), debt_coins);
    lease.release().await
}
