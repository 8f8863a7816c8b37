//! Bank details are sealed before they are stored, and opened only to be masked or paid to.

use talktime_kit::db::DatabasePool;

use super::WalletLedger;
use crate::domain::WalletError;
use crate::domain::bank::BankDetails;
use crate::sealing::BankDetailsSealer;
use crate::store::bank::{self, BankDetailsTable, SealedBankDetails};
use crate::store::wallets;

/// Maximum number of rows that are resealed in one transaction.
const RESEALED_AT_ONCE: i64 = 200;

impl WalletLedger {
    /// Stores a person's bank details. A change delays payouts for a while.
    pub async fn set_bank_details(
        &self,
        user_id: i64,
        details: &BankDetails,
    ) -> Result<(), WalletError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        wallets::insert_missing(&mut tx, &[user_id], now).await?;
        let locked = wallets::lock(&mut tx, &[user_id]).await?;
        if locked.get(&user_id).is_none_or(|wallet| wallet.is_closed) {
            return Err(WalletError::NoSuchUser);
        }
        let before = bank::find(&mut tx, user_id).await?;
        let is_change = match before {
            Some(row) => {
                let opened = open_details(&self.sealer, user_id, &row.details);
                // Details that cannot be opened any more count as different ones.
                opened.ok().as_ref() != Some(details)
            }
            None => self.terms.withdrawals.delays_first_bank_details,
        };
        let sealed = seal_details(&self.sealer, user_id, details)?;
        let changed_at = is_change.then_some(now);
        bank::update_details(&mut tx, user_id, &sealed, changed_at, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Finds a person's bank details.
    pub async fn find_bank_details(
        &self,
        user_id: i64,
    ) -> Result<Option<BankDetails>, WalletError> {
        let mut connection = self.db.acquire().await?;
        let found = bank::find(&mut connection, user_id).await?;
        found
            .map(|row| open_details(&self.sealer, user_id, &row.details))
            .transpose()
    }
}

/// Reseals all details that another key than the configured one sealed, in bounded transactions. Returns the
/// number of rows. May be interrupted, and may run while the service is live.
pub async fn reseal_bank_details(
    db: &DatabasePool,
    sealer: &BankDetailsSealer,
) -> Result<u64, WalletError> {
    let mut resealed = 0;
    for table in [BankDetailsTable::Wallets, BankDetailsTable::Withdrawals] {
        loop {
            let batch = reseal_batch(db, sealer, table).await?;
            resealed += batch;
            if batch == 0 {
                break;
            }
        }
    }
    Ok(resealed)
}

async fn reseal_batch(
    db: &DatabasePool,
    sealer: &BankDetailsSealer,
    table: BankDetailsTable,
) -> Result<u64, WalletError> {
    let mut tx = db.begin().await?;
    let stale = bank::lock_stale(&mut tx, table, sealer.key_id(), RESEALED_AT_ONCE).await?;
    let rows = stale.len() as u64;
    for row in stale {
        let details = open_details(sealer, row.user_id, &row.details)?;
        let sealed = seal_details(sealer, row.user_id, &details)?;
        bank::replace_details(&mut tx, table, row.row_id, &sealed).await?;
    }
    tx.commit().await?;
    Ok(rows)
}

/// Seals each field on its own, bound to the person's id.
fn seal_details(
    sealer: &BankDetailsSealer,
    user_id: i64,
    details: &BankDetails,
) -> Result<SealedBankDetails, WalletError> {
    let seal = |field, text: &str| sealer.seal(user_id, field, text);
    let bank_name = details.bank_name.as_deref();
    Ok(SealedBankDetails {
        bank_account_number: seal("account_number", &details.account_number)?,
        ifsc_code: seal("ifsc_code", &details.ifsc_code)?,
        account_holder_name: seal("account_holder_name", &details.account_holder_name)?,
        bank_name: bank_name.map(|name| seal("bank_name", name)).transpose()?,
        bank_key_id: sealer.key_id().to_owned(),
    })
}

/// Opens details that [`seal_details`] sealed.
pub(crate) fn open_details(
    sealer: &BankDetailsSealer,
    user_id: i64,
    sealed: &SealedBankDetails,
) -> Result<BankDetails, WalletError> {
    let open = |field, text: &str| sealer.open(user_id, field, text);
    let bank_name = sealed.bank_name.as_deref();
    Ok(BankDetails {
        account_number: open("account_number", &sealed.bank_account_number)?,
        ifsc_code: open("ifsc_code", &sealed.ifsc_code)?,
        account_holder_name: open("account_holder_name", &sealed.account_holder_name)?,
        bank_name: bank_name.map(|name| open("bank_name", name)).transpose()?,
    })
}
