//! `wallet.user_withdrawals`: rupees that were asked for, and what admins decided.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};
use talktime_kit::Error;

use super::bank::SealedDetails;
use crate::domain::history::{ListPage, PageRequest};
use crate::domain::withdrawal::{WithdrawalDecision, WithdrawalState, WithdrawalStatus};

/// A withdrawal that is asked for.
#[derive(Clone, Debug)]
pub struct NewWithdrawal<'a> {
    /// Who asks.
    pub user_id: i64,
    /// For how much, in paise.
    pub amount_paise: i64,
    /// Where to, as it is now.
    pub details: &'a SealedDetails,
    /// Nothing is paid out before.
    pub payable_at: DateTime<Utc>,
}

/// A withdrawal as people see it.
#[derive(Clone, Debug, FromRow)]
pub struct WithdrawalRecord {
    /// Its number.
    pub withdrawal_id: i64,
    /// The line in the history that holds the sum.
    pub transaction_id: i64,
    /// Who asked.
    pub user_id: i64,
    /// For how much, in paise.
    pub amount_paise: i64,
    /// The contract's word.
    pub status: String,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it was paid or rejected.
    pub processed_at: Option<DateTime<Utc>>,
    /// Nothing is paid out before.
    pub payable_at: DateTime<Utc>,
    /// Admins who agreed to pay it, in that order.
    pub agreed: Vec<i64>,
    /// Where to.
    #[sqlx(flatten)]
    pub details: SealedDetails,
}

/// `SELECT` of whole withdrawals, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT withdrawal_id, COALESCE(transaction_id, 0) AS transaction_id, user_id,
                    (amount * 100)::bigint AS amount_paise, status, created_at, processed_at,
                    payable_at, bank_account_number, ifsc_code, account_holder_name, bank_name,
                    bank_key_id,
                    ARRAY(SELECT admin_id FROM wallet.withdrawal_decisions AS d
                          WHERE d.withdrawal_id = w.withdrawal_id AND d.status <> 'rejected'
                          GROUP BY admin_id ORDER BY min(decision_id)) AS agreed
             FROM wallet.user_withdrawals AS w ",
            $rest
        )
    };
}

/// Keeps a withdrawal that is asked for; answers its number.
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

/// Remembers which line of the history holds the sum.
pub async fn set_transaction(
    tx: &mut PgConnection,
    withdrawal_id: i64,
    transaction_id: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE wallet.user_withdrawals SET transaction_id = $2 WHERE withdrawal_id = $1")
        .bind(withdrawal_id)
        .bind(transaction_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// What a person asked for since then and was not refused, in paise.
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
pub async fn delete(tx: &mut PgConnection, withdrawal_id: i64) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM wallet.user_withdrawals WHERE withdrawal_id = $1")
        .bind(withdrawal_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Who asked for a withdrawal.
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
                status: WithdrawalStatus::parse(&row.status).map_err(Error::internal)?,
                payable_at: row.payable_at,
                agreed: row.agreed,
            })
        })
        .transpose()
}

/// Notes what an admin decided; the same again is noted once.
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

/// Moves a locked withdrawal on; one that is paid or rejected is processed.
pub async fn update_status(
    tx: &mut PgConnection,
    withdrawal_id: i64,
    status: WithdrawalStatus,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
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
    Ok(())
}

/// One withdrawal.
pub async fn find(
    connection: &mut PgConnection,
    withdrawal_id: i64,
) -> sqlx::Result<Option<WithdrawalRecord>> {
    sqlx::query_as(select!("WHERE withdrawal_id = $1"))
        .bind(withdrawal_id)
        .fetch_optional(connection)
        .await
}

/// A page of a person's withdrawals, newest first.
pub async fn list_by_user(
    connection: &mut PgConnection,
    user_id: i64,
    page: PageRequest,
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

/// A page of everybody's withdrawals in one state, those that wait longest first.
pub async fn list_by_status(
    connection: &mut PgConnection,
    status: WithdrawalStatus,
    page: PageRequest,
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

/// What an operator is to pay out now: processing, not delayed, after this number.
pub async fn list_payable(
    connection: &mut PgConnection,
    after_withdrawal_id: i64,
    now: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<Vec<WithdrawalRecord>> {
    sqlx::query_as(select!(
        "WHERE status = 'processing' AND withdrawal_id > $1 AND payable_at <= $2
         ORDER BY withdrawal_id LIMIT $3"
    ))
    .bind(after_withdrawal_id)
    .bind(now)
    .bind(limit)
    .fetch_all(connection)
    .await
}
