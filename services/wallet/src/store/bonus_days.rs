//! `wallet.bonus_days`: coins that each admin has given on each day.

use chrono::NaiveDate;
use talktime_kit::db::PgConnection;

/// Adds coins to those that an admin has given on a day, unless they would exceed `limit`; returns whether they were
/// added. Concurrent gifts of an admin wait for each other.
pub async fn add_within(
    tx: &mut PgConnection,
    admin_id: i64,
    day: NaiveDate,
    coins: i64,
    limit: i64,
) -> sqlx::Result<bool> {
    let added = sqlx::query(
        "INSERT INTO wallet.bonus_days AS given (admin_id, day, coins)
         SELECT $1, $2, $3 WHERE $3 <= $4
         ON CONFLICT (admin_id, day) DO UPDATE SET coins = given.coins + excluded.coins
         WHERE given.coins <= $4 - excluded.coins",
    )
    .bind(admin_id)
    .bind(day)
    .bind(coins)
    .bind(limit)
    .execute(tx)
    .await?;
    Ok(added.rows_affected() == 1)
}
