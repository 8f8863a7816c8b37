//! Deletes what the wallet keeps for a limited time: notifications of the provider, and phones of deleted accounts. May run
//! on many replicas at once.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::ledger::WalletLedger;

const DELETION_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("wallet.delete_old"),
    // Both are kept for days or months.
    interval: Duration::from_mins(10),
    retry_after: Duration::from_mins(1),
    deadline: Duration::from_mins(2),
    first_turn: FirstTurnStart::AtOnce,
};

/// Deletes what is old enough until the service stops.
pub(crate) fn start_deletions(lifecycle: &ProcessLifecycle, ledger: WalletLedger) {
    periodic::start(lifecycle, DELETION_WORK, move || delete_old(ledger.clone()));
}

/// Deletes either kind, even if the other one fails.
async fn delete_old(ledger: WalletLedger) -> anyhow::Result<NextTurnStart> {
    let forgotten = ledger.forget_old_phones().await;
    let deleted = ledger.delete_old_notices().await;
    forgotten.context("failed to forget phones of deleted accounts")?;
    deleted.context("failed to delete old notifications")?;
    Ok(NextTurnStart::AfterInterval)
}
