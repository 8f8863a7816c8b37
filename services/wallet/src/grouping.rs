//! Charges that come one by one share transactions.

use talktime_kit::group::{Groups, Limits, Member, Work};

use crate::domain::WalletError;
use crate::domain::charging::Charge;
use crate::ledger::{ChargeOutcome, Ledger};

const LIMITS: Limits = Limits {
    members_max: 64,
    at_once: 4,
    waiting_max: 4_096,
};

/// Charges in groups. One that holds a refused charge, or one twice, is charged one by one.
pub struct Charging(Ledger);

/// Takes single charges, as a batch of one each.
pub fn charging(ledger: &Ledger) -> Groups<Charging> {
    Groups::start(LIMITS, Charging(ledger.clone()))
}

impl Work for Charging {
    type Task = Charge;
    type Answer = ChargeOutcome;
    type Error = WalletError;

    async fn work(&self, group: &[Member<Charge>]) -> Result<Vec<ChargeOutcome>, WalletError> {
        self.0.charge_group(group).await
    }
}
