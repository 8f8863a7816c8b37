//! `auth.signing_keys`: the keys of tokens, each sealed.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};

use crate::domain::SigningKey;

/// A key whose tokens are accepted.
#[derive(Clone, Debug, FromRow)]
pub struct ActiveSigningKey {
    /// The `kid` of its tokens.
    pub key_id: String,
    /// See [`talktime_kit::sealing`].
    pub sealed_key: Vec<u8>,
    /// Whether it signs.
    pub is_signing: bool,
}

/// Every key that is not retired, the oldest first.
pub async fn list_active(connection: &mut PgConnection) -> sqlx::Result<Vec<ActiveSigningKey>> {
    sqlx::query_as(
        "SELECT key_id, sealed_key, signs_from IS NOT NULL AND signs_until IS NULL AS is_signing
         FROM auth.signing_keys WHERE retired_at IS NULL ORDER BY published_at, key_id",
    )
    .fetch_all(connection)
    .await
}

impl FromRow<'_, PgRow> for SigningKey {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            key_id: row.try_get("key_id")?,
            published_at: row.try_get("published_at")?,
            signs_from: row.try_get("signs_from")?,
            signs_until: row.try_get("signs_until")?,
            retired_at: row.try_get("retired_at")?,
        })
    }
}

/// Inserts the first key of all, which signs at once, unless there is a key already. If several replicas start at
/// the same time, one of them inserts its key.
pub async fn insert_first(
    connection: &mut PgConnection,
    key_id: &str,
    sealed_key: &[u8],
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO auth.signing_keys (key_id, sealed_key, signs_from)
         SELECT $1, $2, clock_timestamp() WHERE NOT EXISTS (SELECT FROM auth.signing_keys)
         ON CONFLICT DO NOTHING",
    )
    .bind(key_id)
    .bind(sealed_key)
    .execute(connection)
    .await?;
    Ok(())
}

/// Inserts a key that signs later; returns the time of its publication.
pub async fn insert(
    connection: &mut PgConnection,
    key_id: &str,
    sealed_key: &[u8],
) -> sqlx::Result<DateTime<Utc>> {
    sqlx::query_scalar(
        "INSERT INTO auth.signing_keys (key_id, sealed_key) VALUES ($1, $2) RETURNING published_at",
    )
    .bind(key_id)
    .bind(sealed_key)
    .fetch_one(connection)
    .await
}

/// All keys, the oldest first, locked until the transaction ends; and the time.
pub async fn lock_all(tx: &mut PgConnection) -> sqlx::Result<(Vec<SigningKey>, DateTime<Utc>)> {
    let keys = sqlx::query_as(
        "SELECT key_id, published_at, signs_from, signs_until, retired_at
         FROM auth.signing_keys ORDER BY published_at, key_id FOR UPDATE",
    )
    .fetch_all(&mut *tx)
    .await?;
    let now = sqlx::query_scalar("SELECT clock_timestamp()")
        .fetch_one(tx)
        .await?;
    Ok((keys, now))
}

/// Makes one key sign in place of the present one.
pub async fn set_signing(
    tx: &mut PgConnection,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE auth.signing_keys SET signs_until = $1
         WHERE signs_from IS NOT NULL AND signs_until IS NULL",
    )
    .bind(now)
    .execute(&mut *tx)
    .await?;
    let result = sqlx::query("UPDATE auth.signing_keys SET signs_from = $1 WHERE key_id = $2")
        .bind(now)
        .bind(key_id)
        .execute(tx)
        .await?;
    expect_rows(&result, 1, "auth.signing_keys", key_id)
}

/// Refuses a key's tokens from now on, and forgets its private half.
pub async fn set_retired(
    tx: &mut PgConnection,
    key_id: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE auth.signing_keys SET retired_at = $1, sealed_key = NULL WHERE key_id = $2",
    )
    .bind(now)
    .bind(key_id)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "auth.signing_keys", key_id)
}
