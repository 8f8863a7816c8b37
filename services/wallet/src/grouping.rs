//! Charges that come one by one share transactions.

use std::time::Duration;

use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher, WhenFull};

use crate::domain::WalletError;
use crate::domain::charging::Charge;
use crate::ledger::{ChargeOutcome, Ledger};

const LIMITS: BatchLimits = BatchLimits {
    items_max: 64,
    concurrent_max: 4,
    queued_max: 4_096,
    linger: Duration::ZERO,
    when_full: WhenFull::Wait,
};

/// Charges in groups. One that holds a refused charge, or one twice, is charged one by one.
pub struct Charging(Ledger);

/// Takes single charges, as a batch of one each.
pub fn charging(ledger: &Ledger) -> Batcher<Charging> {
    Batcher::start(LIMITS, Charging(ledger.clone()))
}

impl BatchHandler for Charging {
    type Task = Charge;
    type Answer = ChargeOutcome;
    type Error = WalletError;

    async fn handle(&self, group: &[BatchItem<Charge>]) -> Result<Vec<ChargeOutcome>, WalletError> {
        self.0.charge_group(group).await
    }
}
