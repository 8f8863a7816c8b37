//! Periodic work: asking the provider about orders that are due, and verifying the books. Both may run on many
//! replicas at once.

use std::time::Duration;

use sqlx::Connection;
use talktime_kit::Error;
use talktime_kit::db::Database;
use talktime_kit::error::chain;
use tokio_util::sync::CancellationToken;

use crate::ledger::Ledger;
use crate::observe;
use crate::store::{accounts, audits};

/// Orders become due a minute after they were opened, and later again.
const ASK_EVERY: Duration = Duration::from_secs(15);
/// The pause after a failed verification, for example before the database is reachable.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Maximum number of differences that one verification logs.
const LOGGED_MAX: usize = 20;

/// Asks the provider about orders that are due until the service stops.
pub(crate) async fn reconcile_orders(ledger: Ledger, stopping: CancellationToken) {
    while wait_unless_stopping(ASK_EVERY, &stopping).await {
        match ledger.reconcile_orders().await {
            Ok(0) => {}
            Ok(credited) => tracing::info!(
                credited,
                "credited orders whose payments no notification had reported"
            ),
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(error, "failed to claim orders that are due; retrying soon");
            }
        }
        if let Err(error) = ledger.delete_old_notices().await {
            let error = chain(&error);
            tracing::warn!(error, "failed to delete old notifications; retrying soon");
        }
    }
}

/// Verifies the books at the start and then at every interval until the service stops.
pub(crate) async fn verify_books(db: Database, every: Duration, stopping: CancellationToken) {
    loop {
        let verified = tokio::select! {
            verified = verify_once(&db) => verified,
            () = stopping.cancelled() => return,
        };
        let pause = match verified {
            Ok(()) => every,
            Err(error) => {
                tracing::warn!(
                    error = chain(&error),
                    "failed to verify the books; retrying soon"
                );
                every.min(RETRY_AFTER)
            }
        };
        if !wait_unless_stopping(pause, &stopping).await {
            return;
        }
    }
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

/// Waits; returns false if the service stops meanwhile.
async fn wait_unless_stopping(time: Duration, stopping: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = stopping.cancelled() => false,
    }
}
