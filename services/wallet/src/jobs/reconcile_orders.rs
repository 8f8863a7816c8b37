//! Looks up due orders at the provider. May run on many replicas at once.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::ledger::WalletLedger;

const ORDERS_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("wallet.orders"),
    // Orders become due a minute after they were opened, and later again.
    interval: Duration::from_secs(15),
    retry_after: Duration::from_secs(15),
    deadline: Duration::from_mins(2),
    first_turn: FirstTurnStart::AfterInterval,
};

/// Looks up due orders at the provider until the service stops.
pub(crate) fn start_reconciliation(lifecycle: &ProcessLifecycle, ledger: WalletLedger) {
    periodic::start(lifecycle, ORDERS_WORK, move || {
        reconcile_once(ledger.clone())
    });
}

async fn reconcile_once(ledger: WalletLedger) -> anyhow::Result<NextTurnStart> {
    let reconciled = ledger.reconcile_orders().await;
    let taken = ledger.take_lost_earnings().await;
    let credited = reconciled.context("failed to claim orders that are due")?;
    if credited > 0 {
        tracing::info!(
            credited,
            "credited orders whose payments no notification had reported"
        );
    }
    let taken = taken.context("failed to take earnings that disputes have lost")?;
    if taken > 0 {
        tracing::info!(
            taken,
            "took earnings that were paid for with money that banks took back"
        );
    }
    Ok(NextTurnStart::AfterInterval)
}
