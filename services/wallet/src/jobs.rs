//! What the wallet does by itself: asks the provider about open orders, and looks through its own
//! books. Both are harmless on many replicas at once.

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
/// After a look that came to nothing, such as at a start before the database is there.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Differences that one look writes into the log, at most.
const LOGGED_MAX: usize = 20;

/// Asks the provider about open orders until told to stop.
pub(crate) async fn reconcile_orders(ledger: Ledger, stopping: CancellationToken) {
    while wait_unless_stopping(ASK_EVERY, &stopping).await {
        match ledger.reconcile_orders().await {
            Ok(0) => {}
            Ok(credited) => tracing::info!(credited, "credited payments that nobody had reported"),
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

/// Looks through the books, first of all at the start, until told to stop.
pub(crate) async fn verify_books(db: Database, every: Duration, stopping: CancellationToken) {
    loop {
        let verified = tokio::select! {
            verified = verify_once(&db) => verified,
            () = stopping.cancelled() => return,
        };
        let pause = match verified {
            Ok(()) => every,
            Err(error) => {
                tracing::warn!(error = chain(&error), "the books are looked through later");
                every.min(RETRY_AFTER)
            }
        };
        if !wait_unless_stopping(pause, &stopping).await {
            return;
        }
    }
}

/// One look, unless another replica is at it. The metric tells what the last look found.
async fn verify_once(db: &Database) -> Result<(), Error> {
    // The lock is the session's, which ends with this connection, however this ends.
    let mut connection = db.open_session().await?;
    let is_ours: bool =
        sqlx::query_scalar("SELECT pg_try_advisory_lock(hashtext('wallet.verify'))")
            .fetch_one(&mut connection)
            .await?;
    if is_ours {
        let differences = accounts::find_differences(&mut connection).await?;
        for difference in differences.iter().take(LOGGED_MAX) {
            tracing::error!(difference, "the books disagree");
        }
        let debt_coins = audits::sum_closed_debt_coins(&mut connection).await?;
        observe::record_verification(differences.len(), debt_coins);
    }
    connection.close().await?;
    Ok(())
}

/// Waits; whether it was to the end.
async fn wait_unless_stopping(time: Duration, stopping: &CancellationToken) -> bool {
    tokio::select! {
        () = tokio::time::sleep(time) => true,
        () = stopping.cancelled() => false,
    }
}
