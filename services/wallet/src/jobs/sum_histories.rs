//! Adds the lines of months that are over to the sums of histories. May run on many replicas at once.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use crate::ledger::WalletLedger;

/// Steps of a turn, so that the process can stop between two turns.
const STEPS_MAX: usize = 20;

const SUMS_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("wallet.history_sums"),
    // Until a month is summed, pages read its lines as they read those of the present month.
    interval: Duration::from_mins(10),
    retry_after: Duration::from_mins(1),
    deadline: Duration::from_mins(10),
    first_turn: FirstTurnStart::AtOnce,
};

/// Sums what is due until the service stops.
pub(crate) fn start_summing(lifecycle: &ProcessLifecycle, ledger: WalletLedger) {
    periodic::start(lifecycle, SUMS_WORK, move || sum_some(ledger.clone()));
}

async fn sum_some(ledger: WalletLedger) -> anyhow::Result<NextTurnStart> {
    for _ in 0..STEPS_MAX {
        let summed = ledger.sum_histories().await;
        if !summed.context("failed to sum lines of histories")? {
            return Ok(NextTurnStart::AfterInterval);
        }
    }
    Ok(NextTurnStart::AtOnce)
}
