//! Periodic work: asking the provider about orders that are due, and verifying the books. Both may run on many
//! replicas at once.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use sqlx::Connection;
use talktime_kit::Error;
use talktime_kit::db::Database;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::periodic::{self, FirstTurn, NextTurn, PeriodicWork};

use crate::ledger::Ledger;
use crate::observe;
use crate::store::{accounts, audits};

const ORDERS_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("wallet.orders"),
    // Orders become due a minute after they were opened, and later again.
    interval: Duration::from_secs(15),
    retry_after: Duration::from_secs(15),
    deadline: Duration::from_mins(2),
    first_turn: FirstTurn::AfterInterval,
};
/// The pause after a failed verification, for example before the database is reachable.
const VERIFY_RETRY_AFTER: Duration = Duration::from_secs(10);
/// Time limit of a verification, which reads the whole journal.
const VERIFY_TIMEOUT: Duration = Duration::from_hours(1);
/// Maximum number of differences that one verification logs.
const LOGGED_MAX: usize = 20;

/// Asks the provider about orders that are due until the service stops.
pub(crate) fn start_reconciliation(lifecycle: &Lifecycle, ledger: Ledger) {
    periodic::start(lifecycle, ORDERS_WORK, move || {
        reconcile_once(ledger.clone())
    });
}

async fn reconcile_once(ledger: Ledger) -> anyhow::Result<NextTurn> {
    let reconciled = ledger.reconcile_orders().await;
    let deleted = ledger.delete_old_notices().await;
    let credited = reconciled.context("failed to claim orders that are due")?;
    if credited > 0 {
        tracing::info!(
            credited,
            "credited orders whose payments no notification had reported"
        );
    }
    deleted.context("failed to delete old notifications")?;
    Ok(NextTurn::AfterInterval)
}

/// Verifies the books at the start and then at every interval until the service stops.
pub(crate) fn start_verification(lifecycle: &Lifecycle, db: Database, every: Duration) {
    let work = PeriodicWork {
        name: Cow::Borrowed("wallet.verify"),
        interval: every,
        retry_after: every.min(VERIFY_RETRY_AFTER),
        deadline: VERIFY_TIMEOUT,
        first_turn: FirstTurn::AtOnce,
    };
    periodic::start(lifecycle, work, move || {
        let db = db.clone();
        async move {
            let verified = verify_once(&db).await;
            verified.context("failed to verify the books")?;
            Ok(NextTurn::AfterInterval)
        }
    });
}

/// Verifies the books once, unless another replica is doing so, and records the result in metrics.
async fn verify_once(db: &Database) -> Result<(), Error> {
    // The advisory lock belongs to the session, so it is released with the connection even after an error.
    let mut connection = db.open_session().await?;
    let is_ours: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('wallet.verify'))")
            .fetch_one(&mut connection)
            .await?;
    if is_ours {
        let differences = accounts::find_differences(&mut connection).await?;
        for difference in differences.iter().take(LOGGED_MAX) {
            tracing::error!(
                difference,
                "the books are inconsistent; find the transfer as docs/runbooks/wallet.md describes"
            );
        }
        let debt_coins = audits::sum_closed_debt_coins(&mut connection).await?;
        observe::record_verification(differences.len(), debt_coins);
    }
    connection.close().await?;
    Ok(())
}
