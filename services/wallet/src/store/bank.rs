//! Sealed bank details, in `wallet.user_wallets` and copied into `wallet.user_withdrawals`.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};

/// Sealed bank details as they are stored, all sealed by the same key.
#[derive(Clone, Debug, FromRow)]
pub struct SealedBankDetails {
    pub bank_account_number: String,
    pub ifsc_code: String,
    pub account_holder_name: String,
    pub bank_name: Option<String>,
    /// The key that sealed them.
    pub bank_key_id: String,
}

/// A row that is to be resealed.
#[derive(Clone, Debug, FromRow)]
pub struct StaleBankDetails {
    /// The row's id: a user's, or a withdrawal's.
    pub row_id: i64,
    pub user_id: i64,
    #[sqlx(flatten)]
    pub details: SealedBankDetails,
}

/// A person's details with the instant of their last change; there is none before the first change.
#[derive(Clone, Debug, FromRow)]
pub struct BankDetailsRow {
    #[sqlx(flatten)]
    pub details: SealedBankDetails,
    pub bank_changed_at: Option<DateTime<Utc>>,
}

/// Finds a person's details.
pub async fn find(
    connection: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<Option<BankDetailsRow>> {
    sqlx::query_as(
        "SELECT bank_account_number, ifsc_code, account_holder_name, bank_name, bank_key_id,
                bank_changed_at
         FROM wallet.user_wallets WHERE user_id = $1 AND bank_key_id IS NOT NULL",
    )
    .bind(user_id)
    .fetch_optional(connection)
    .await
}

/// Updates a person's details. The caller holds the lock of the wallet.
pub async fn update_details(
    tx: &mut PgConnection,
    user_id: i64,
    details: &SealedBankDetails,
    changed_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.user_wallets
         SET bank_account_number = $2, ifsc_code = $3, account_holder_name = $4, bank_name = $5,
             bank_key_id = $6, bank_changed_at = COALESCE($7, bank_changed_at), updated_at = $8
         WHERE user_id = $1",
    )
    .bind(user_id)
    .bind(&details.bank_account_number)
    .bind(&details.ifsc_code)
    .bind(&details.account_holder_name)
    .bind(&details.bank_name)
    .bind(&details.bank_key_id)
    .bind(changed_at)
    .bind(now)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.user_wallets", user_id)
}

/// Wallets, then withdrawals: the tables that hold sealed details.
#[derive(Clone, Copy, Debug)]
pub enum BankDetailsTable {
    /// `user_wallets`.
    Wallets,
    /// `user_withdrawals`.
    Withdrawals,
}

/// Locks rows whose details another key sealed, at most `limit`, and skips rows that another transaction
/// has locked.
pub async fn lock_stale(
    tx: &mut PgConnection,
    table: BankDetailsTable,
    key_id: &str,
    limit: i64,
) -> sqlx::Result<Vec<StaleBankDetails>> {
    let statement = match table {
        BankDetailsTable::Wallets => {
            "SELECT user_id AS row_id, user_id, bank_account_number, ifsc_code, account_holder_name,
                    bank_name, bank_key_id
             FROM wallet.user_wallets WHERE bank_key_id IS NOT NULL AND bank_key_id <> $1
             ORDER BY user_id LIMIT $2 FOR UPDATE SKIP LOCKED"
        }
        BankDetailsTable::Withdrawals => {
            "SELECT withdrawal_id AS row_id, user_id, bank_account_number, ifsc_code,
                    account_holder_name, bank_name, bank_key_id
             FROM wallet.user_withdrawals WHERE bank_key_id <> $1
             ORDER BY withdrawal_id LIMIT $2 FOR UPDATE SKIP LOCKED"
        }
    };
    sqlx::query_as(statement)
        .bind(key_id)
        .bind(limit)
        .fetch_all(tx)
        .await
}

/// Replaces details that were sealed by another key.
pub async fn replace_details(
    tx: &mut PgConnection,
    table: BankDetailsTable,
    row_id: i64,
    details: &SealedBankDetails,
) -> Result<(), Error> {
    let (name, statement) = match table {
        BankDetailsTable::Wallets => (
            "wallet.user_wallets",
            "UPDATE wallet.user_wallets
             SET bank_account_number = $2, ifsc_code = $3, account_holder_name = $4,
                 bank_name = $5, bank_key_id = $6
             WHERE user_id = $1",
        ),
        BankDetailsTable::Withdrawals => (
            "wallet.user_withdrawals",
            "UPDATE wallet.user_withdrawals
             SET bank_account_number = $2, ifsc_code = $3, account_holder_name = $4,
                 bank_name = $5, bank_key_id = $6
             WHERE withdrawal_id = $1",
        ),
    };
    let result = sqlx::query(statement)
        .bind(row_id)
        .bind(&details.bank_account_number)
        .bind(&details.ifsc_code)
        .bind(&details.account_holder_name)
        .bind(&details.bank_name)
        .bind(&details.bank_key_id)
        .execute(tx)
        .await?;
    expect_rows(&result, 1, name, row_id)
}
