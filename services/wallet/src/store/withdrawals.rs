//! `wallet.user_withdrawals`: the requested withdrawals, and the decisions of admins.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};
use talktime_kit::paging::{ListPage, ListPageRequest};

use super::bank::SealedBankDetails;
use crate::domain::WalletError;
use crate::domain::withdrawal::{
    WithdrawalDecision, WithdrawalState, WithdrawalStatus, parse_status,
};

/// A withdrawal that is to be inserted.
#[derive(Clone, Debug)]
pub struct NewWithdrawal<'a> {
    pub user_id: i64,
    /// The sum, in paise.
    pub amount_paise: i64,
    /// The bank account as it is now.
    pub details: &'a SealedBankDetails,
    /// The earliest instant of a payout.
    pub payable_at: DateTime<Utc>,
}

/// A withdrawal as people see it.
#[derive(Clone, Debug, FromRow)]
pub struct WithdrawalRecord {
    pub withdrawal_id: i64,
    /// The line in the history that records the hold.
    pub transaction_id: Option<i64>,
    pub user_id: i64,
    /// The sum, in paise.
    pub amount_paise: i64,
    /// The status, by the contract's name.
    pub status: String,
    /// The instant of the request.
    pub created_at: DateTime<Utc>,
    /// The instant at which it was paid or rejected.
    pub processed_at: Option<DateTime<Utc>>,
    /// The earliest instant of a payout.
    pub payable_at: DateTime<Utc>,
    /// Admins who agreed to pay it, in that order.
    pub agreed: Vec<i64>,
    /// Sum that the same listener has requested within 24 hours of it, itself included and without rejected ones, in
    /// paise.
    pub day_paise: i64,
    /// The bank account that receives the sum.
    #[sqlx(flatten)]
    pub details: SealedBankDetails,
}

impl WithdrawalRecord {
    /// The line in the history that records the hold.
    ///
    /// # Errors
    /// `MissingValue` if there is none: the hold sets it in the transaction that inserts the withdrawal.
    pub fn hold_transaction_id(&self) -> Result<i64, WalletError> {
        self.transaction_id
            .ok_or_else(|| WalletError::MissingValue {
                column: "wallet.user_withdrawals.transaction_id",
                key: self.withdrawal_id.to_string(),
            })
    }
}

/// `SELECT` of whole withdrawals, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT withdrawal_id, transaction_id, user_id,
                    (amount * 100)::bigint AS amount_paise, status, created_at, processed_at,
                    payable_at, bank_account_number, ifsc_code, account_holder_name, bank_name,
                    bank_key_id,
                    ARRAY(SELECT admin_id FROM wallet.withdrawal_decisions AS d
                          WHERE d.withdrawal_id = w.withdrawal_id AND d.status <> 'rejected'
                          GROUP BY admin_id ORDER BY min(decision_id)) AS agreed,
                    (SELECT COALESCE(sum(near.amount) * 100, 0)::bigint
                     FROM wallet.user_withdrawals AS near
                     WHERE near.user_id = w.user_id AND near.status <> 'rejected'
                       AND near.created_at > w.created_at - interval '24 hours'
                       AND near.created_at < w.created_at + interval '24 hours') AS day_paise
             FROM wallet.user_withdrawals AS w ",
            $rest
        )
    };
}

/// Inserts a withdrawal; returns its id.
pub async fn insert(
    tx: &mut PgConnection,
    new: &NewWithdrawal<'_>,
    now: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO wallet.user_withdrawals
             (user_id, amount, bank_account_number, ifsc_code, account_holder_name, bank_name,
              bank_key_id, status, payable_at, created_at)
         VALUES ($1, $2::numeric / 100, $3, $4, $5, $6, $7, 'pending', $8, $9)
         RETURNING withdrawal_id",
    )
    .bind(new.user_id)
    .bind(new.amount_paise)
    .bind(&new.details.bank_account_number)
    .bind(&new.details.ifsc_code)
    .bind(&new.details.account_holder_name)
    .bind(&new.details.bank_name)
    .bind(&new.details.bank_key_id)
    .bind(new.payable_at)
    .bind(now)
    .fetch_one(tx)
    .await
}

/// Sets the line of the history that records the hold.
pub async fn set_transaction(
    tx: &mut PgConnection,
    withdrawal_id: i64,
    transaction_id: i64,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.user_withdrawals SET transaction_id = $2 WHERE withdrawal_id = $1",
    )
    .bind(withdrawal_id)
    .bind(transaction_id)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.user_withdrawals", withdrawal_id)
}

/// Sums the withdrawals that a person has requested since an instant, without rejected ones, in paise.
pub async fn sum_requested_since(
    tx: &mut PgConnection,
    user_id: i64,
    since: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "SELECT COALESCE(sum(amount) * 100, 0)::bigint FROM wallet.user_withdrawals
         WHERE user_id = $1 AND created_at > $2 AND status <> 'rejected'",
    )
    .bind(user_id)
    .bind(since)
    .fetch_one(tx)
    .await
}

/// Deletes a decided withdrawal of a deleted account; the journal keeps what it moved.
pub async fn delete(tx: &mut PgConnection, withdrawal_id: i64) -> Result<(), Error> {
    let result = sqlx::query("DELETE FROM wallet.user_withdrawals WHERE withdrawal_id = $1")
        .bind(withdrawal_id)
        .execute(tx)
        .await?;
    expect_rows(&result, 1, "wallet.user_withdrawals", withdrawal_id)
}

/// Finds the owner of a withdrawal.
pub async fn find_owner(tx: &mut PgConnection, withdrawal_id: i64) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar("SELECT user_id FROM wallet.user_withdrawals WHERE withdrawal_id = $1")
        .bind(withdrawal_id)
        .fetch_optional(tx)
        .await
}

/// Locks a withdrawal, after its owner's wallet.
pub async fn lock(
    tx: &mut PgConnection,
    withdrawal_id: i64,
) -> Result<Option<WithdrawalState>, Error> {
    let found: Option<WithdrawalRecord> =
        sqlx::query_as(select!("WHERE withdrawal_id = $1 FOR UPDATE OF w"))
            .bind(withdrawal_id)
            .fetch_optional(tx)
            .await?;
    found
        .map(|row| {
            Ok(WithdrawalState {
                user_id: row.user_id,
                amount_paise: row.amount_paise,
                status: parse_status(&row.status).map_err(Error::internal)?,
                payable_at: row.payable_at,
                agreed: row.agreed,
                day_paise: row.day_paise,
            })
        })
        .transpose()
}

/// Inserts the decision of an admin, unless the same decision was inserted before.
pub async fn insert_decision(
    tx: &mut PgConnection,
    withdrawal_id: i64,
    decision: &WithdrawalDecision,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO wallet.withdrawal_decisions
             (withdrawal_id, admin_id, status, notes, decided_at)
         VALUES ($1, $2, $3, $4, $5) ON CONFLICT (withdrawal_id, admin_id, status) DO NOTHING",
    )
    .bind(withdrawal_id)
    .bind(decision.admin_id)
    .bind(decision.status.name())
    .bind(&decision.notes)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Updates the status of a locked withdrawal. Paid and rejected ones get the instant of processing.
pub async fn update_status(
    tx: &mut PgConnection,
    withdrawal_id: i64,
    status: WithdrawalStatus,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.user_withdrawals
         SET status = $2,
             processed_at = CASE WHEN $2 IN ('paid', 'rejected') THEN $3 ELSE processed_at END
         WHERE withdrawal_id = $1",
    )
    .bind(withdrawal_id)
    .bind(status.name())
    .bind(now)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.user_withdrawals", withdrawal_id)
}

/// Finds one withdrawal.
pub async fn find(
    connection: &mut PgConnection,
    withdrawal_id: i64,
) -> sqlx::Result<Option<WithdrawalRecord>> {
    sqlx::query_as(select!("WHERE withdrawal_id = $1"))
        .bind(withdrawal_id)
        .fetch_optional(connection)
        .await
}

/// Lists a page of a person's withdrawals, the newest first.
pub async fn list_by_user(
    connection: &mut PgConnection,
    user_id: i64,
    page: ListPageRequest,
) -> sqlx::Result<ListPage<WithdrawalRecord>> {
    let entries = sqlx::query_as(select!(
        "WHERE user_id = $1 ORDER BY created_at DESC, withdrawal_id DESC OFFSET $2 LIMIT $3"
    ))
    .bind(user_id)
    .bind(page.offset())
    .bind(page.limit())
    .fetch_all(&mut *connection)
    .await?;
    let total =
        sqlx::query_scalar("SELECT count(*) FROM wallet.user_withdrawals WHERE user_id = $1")
            .bind(user_id)
            .fetch_one(connection)
            .await?;
    Ok(ListPage { entries, total })
}

/// Lists a page of everybody's withdrawals with one status, the oldest first.
pub async fn list_by_status(
    connection: &mut PgConnection,
    status: WithdrawalStatus,
    page: ListPageRequest,
) -> sqlx::Result<ListPage<WithdrawalRecord>> {
    let entries = sqlx::query_as(select!(
        "WHERE status = $1 ORDER BY withdrawal_id OFFSET $2 LIMIT $3"
    ))
    .bind(status.name())
    .bind(page.offset())
    .bind(page.limit())
    .fetch_all(&mut *connection)
    .await?;
    let total =
        sqlx::query_scalar("SELECT count(*) FROM wallet.user_withdrawals WHERE status = $1")
            .bind(status.name())
            .fetch_one(connection)
            .await?;
    Ok(ListPage { entries, total })
}

/// Lists the next `limit` withdrawals of a batch after an id that are still in processing, by id.
pub async fn list_of_batch(
    connection: &mut PgConnection,
    batch_id: i64,
    after_withdrawal_id: i64,
    limit: i64,
) -> sqlx::Result<Vec<WithdrawalRecord>> {
    sqlx::query_as(select!(
        "WHERE payout_batch_id = $1 AND status = 'processing' AND withdrawal_id > $2
         ORDER BY withdrawal_id LIMIT $3"
    ))
    .bind(batch_id)
    .bind(after_withdrawal_id)
    .bind(limit)
    .fetch_all(connection)
    .await
}
