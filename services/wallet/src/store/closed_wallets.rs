//! `wallet.closed_wallets`, as far as they lead to a later account of the same phone.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;

/// Deleted accounts of one phone that are looked at, the last ones first.
const ACCOUNTS_MAX: i64 = 100;

/// Lists the accounts of a phone that were deleted after `since`.
pub async fn list_by_phone(
    tx: &mut PgConnection,
    phone_hash: &[u8],
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT owner_id FROM wallet.closed_wallets
         WHERE phone_hash = $1 AND closed_at > $2 ORDER BY closed_at DESC LIMIT $3",
    )
    .bind(phone_hash)
    .bind(since)
    .bind(ACCOUNTS_MAX)
    .fetch_all(tx)
    .await
}

/// Records which account has taken the place of deleted ones.
pub async fn set_successor(
    tx: &mut PgConnection,
    owner_ids: &[i64],
    successor_id: i64,
) -> sqlx::Result<()> {
    sqlx::query("UPDATE wallet.closed_wallets SET successor_id = $2 WHERE owner_id = ANY($1)")
        .bind(owner_ids)
        .bind(successor_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Finds the account that has taken the place of a deleted one.
pub async fn find_successor(tx: &mut PgConnection, owner_id: i64) -> sqlx::Result<Option<i64>> {
    let found: Option<Option<i64>> =
        sqlx::query_scalar("SELECT successor_id FROM wallet.closed_wallets WHERE owner_id = $1")
            .bind(owner_id)
            .fetch_optional(tx)
            .await?;
    Ok(found.flatten())
}

/// Forgets the phones and the successors of accounts that were deleted before `before`, at most `limit`; returns how many
/// were forgotten.
pub async fn forget_phones(
    tx: &mut PgConnection,
    before: DateTime<Utc>,
    limit: i64,
) -> sqlx::Result<u64> {
    let forgotten = sqlx::query(
        "UPDATE wallet.closed_wallets SET phone_hash = NULL, successor_id = NULL
         WHERE owner_id IN (SELECT owner_id FROM wallet.closed_wallets
                            WHERE phone_hash IS NOT NULL AND closed_at < $1
                            ORDER BY closed_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(before)
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(forgotten.rows_affected())
}
