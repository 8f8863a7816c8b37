//! Balances are what apps ask for most. Requests that come in while a statement runs share the next one, so that a busy
//! wallet does not go to the database once for each of them.

use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher};
use talktime_kit::lifecycle::ProcessLifecycle;

use super::{WalletBalance, WalletLedger};
use crate::domain::WalletError;

/// A batch is one statement that locks nothing, so it may be larger than one that writes.
const BATCH_LIMITS: BatchLimits = BatchLimits {
    items_max: 256,
    overlap_items_max: 8,
    ..BatchLimits::REQUESTS
};

/// Reads balances; cheap to clone.
#[derive(Clone)]
pub struct BalanceReader(Batcher<BalanceBatchHandler>);

/// Reads the balances of one batch.
struct BalanceBatchHandler {
    ledger: WalletLedger,
}

impl BalanceReader {
    /// Reads in the background until the last clone is dropped.
    pub fn start(lifecycle: &ProcessLifecycle, ledger: WalletLedger) -> Self {
        let handler = BalanceBatchHandler { ledger };
        Self(Batcher::start(lifecycle, BATCH_LIMITS, handler))
    }

    /// Loads a person's balance of this moment or a later one; all zero for a person without a wallet.
    pub async fn load_balance(&self, user_id: i64) -> Result<WalletBalance, WalletError> {
        self.0.submit(user_id).await
    }
}

impl BatchHandler for BalanceBatchHandler {
    const NAME: &'static str = "balances";
    type Task = i64;
    type Answer = WalletBalance;
    type Error = WalletError;

    async fn handle(&self, batch: &[BatchItem<i64>]) -> Result<Vec<WalletBalance>, WalletError> {
        let user_ids: Vec<i64> = batch.iter().map(|item| item.task).collect();
        let balances = self.ledger.load_balances(&user_ids).await?;
        let balance = |user_id: &i64| balances.get(user_id).copied().unwrap_or_default();
        Ok(user_ids.iter().map(balance).collect())
    }

    /// Only the database can fail, and it fails for all callers alike.
    fn fails_whole_batch(_error: &WalletError) -> bool {
        true
    }
}
