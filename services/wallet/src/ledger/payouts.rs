//! Lists of withdrawals that an operator pays by hand. Each list is a numbered batch, and a withdrawal is in one batch.

use super::WalletLedger;
use crate::domain::WalletError;
use crate::domain::bank::BankDetails;
use crate::store::payout_batches::{self, PayoutBatchRecord};
use crate::store::withdrawals;

/// Withdrawals that one statement reads.
const READ_AT_ONCE: i64 = 500;

/// A list that an operator pays by.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PayoutBatch {
    pub batch_id: i64,
    /// The withdrawals of the batch that are still in processing.
    pub payouts: Vec<PayoutListItem>,
}

/// A line of such a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PayoutListItem {
    pub withdrawal_id: i64,
    /// The sum, in paise.
    pub amount_paise: i64,
    /// The bank account that receives the sum.
    pub details: BankDetails,
}

impl WalletLedger {
    /// Puts the withdrawals in processing that are in no batch yet into a new one, which the operator of this name
    /// exports. Returns `None` if there are none.
    ///
    /// # Errors
    /// A failure of the database, after which there is no batch, or one that [`WalletLedger::find_last_batch`] finds.
    pub async fn export_payouts(&self, operator: &str) -> Result<Option<PayoutBatch>, WalletError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let batch_id = payout_batches::insert(&mut tx, operator, now).await?;
        if payout_batches::fill(&mut tx, batch_id, now).await? == 0 {
            tx.rollback().await?;
            return Ok(None);
        }
        tx.commit().await?;
        self.load_batch(batch_id).await.map(Some)
    }

    /// Loads a batch, without the withdrawals that were decided meanwhile.
    ///
    /// # Errors
    /// A failure of the database, or of a key that opens bank details.
    pub async fn load_batch(&self, batch_id: i64) -> Result<PayoutBatch, WalletError> {
        let mut connection = self.db.acquire().await?;
        let mut payouts: Vec<PayoutListItem> = Vec::new();
        loop {
            let after = payouts.last().map_or(0, |payout| payout.withdrawal_id);
            let read =
                withdrawals::list_of_batch(&mut connection, batch_id, after, READ_AT_ONCE).await?;
            if read.is_empty() {
                return Ok(PayoutBatch { batch_id, payouts });
            }
            for withdrawal in read {
                payouts.push(PayoutListItem {
                    withdrawal_id: withdrawal.withdrawal_id,
                    amount_paise: withdrawal.amount_paise,
                    details: self.open_bank_details(withdrawal.user_id, &withdrawal.details)?,
                });
            }
        }
    }

    /// Finds the batch that was exported last.
    ///
    /// # Errors
    /// A failure of the database.
    pub async fn find_last_batch(&self) -> Result<Option<PayoutBatchRecord>, WalletError> {
        let mut connection = self.db.acquire().await?;
        Ok(payout_batches::find_last(&mut connection).await?)
    }
}
