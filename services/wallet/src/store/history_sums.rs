//! `wallet.history_sums`: sums of the lines of people's histories, up to the mark of each in `wallet.history_marks`. The
//! lines after it are added when they are read. The money of refunds is that of payments alone: a refund that belongs to a
//! call is a minute, or the earnings that a lost dispute has taken from its listener.

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;

/// Wallets that get a mark at a time.
const MARKED_AT_A_TIME: i64 = 1_000;
/// Wallets below the newest with a mark that may lack one. A wallet may become visible after one with a higher id, but not
/// after so many.
const LATE_MAX: i64 = 10_000;
/// Wallets whose lines are summed at a time: of each all lines of a month, and the first time those of all months.
const SUMMED_AT_A_TIME: i64 = 200;

/// The sums of lines `t`. They are written once, so that those that are stored, verified and added when they are read cannot
/// differ.
macro_rules! line_sums {
    () => {
        "count(*) AS lines,
         COALESCE(sum(t.coins_change) FILTER (WHERE t.call_id IS NOT NULL), 0) AS coins_of_calls,
         COALESCE(sum(t.money_change) FILTER (WHERE t.tx_type <> 'refund' OR t.call_id IS NULL), 0)
             AS money"
    };
}
pub(super) use line_sums;

/// Gives new wallets a mark before all lines; returns whether there were any.
pub async fn add_marks(connection: &mut PgConnection) -> sqlx::Result<bool> {
    let added = sqlx::query(
        "INSERT INTO wallet.history_marks (wallet_id, summed_until)
         SELECT w.wallet_id, '-infinity' FROM wallet.user_wallets AS w
         WHERE w.wallet_id > COALESCE((SELECT max(wallet_id) FROM wallet.history_marks), 0) - $1
           AND NOT EXISTS (SELECT FROM wallet.history_marks AS mark
                           WHERE mark.wallet_id = w.wallet_id)
         ORDER BY w.wallet_id LIMIT $2
         ON CONFLICT DO NOTHING",
    )
    .bind(LATE_MAX)
    .bind(MARKED_AT_A_TIME)
    .execute(connection)
    .await?;
    Ok(added.rows_affected() > 0)
}

/// Adds the lines between the marks of some wallets and `until` to their sums, and moves the marks; returns whether
/// there were any. Wallets that another replica is summing are left to it.
pub async fn sum_lines(connection: &mut PgConnection, until: DateTime<Utc>) -> sqlx::Result<bool> {
    let moved = sqlx::query(concat!(
        "WITH due AS (
             SELECT wallet_id, summed_until FROM wallet.history_marks
             WHERE summed_until < $1 ORDER BY summed_until, wallet_id LIMIT $2
             FOR UPDATE SKIP LOCKED
         ), summed AS (
             INSERT INTO wallet.history_sums AS sums
                 (wallet_id, tx_type, lines, coins_of_calls, money)
             SELECT t.wallet_id, t.tx_type, ",
        line_sums!(),
        " FROM due JOIN wallet.user_transactions AS t ON t.wallet_id = due.wallet_id
                 AND t.created_at >= due.summed_until AND t.created_at < $1
             GROUP BY t.wallet_id, t.tx_type
             ON CONFLICT (wallet_id, tx_type) DO UPDATE
             SET lines = sums.lines + excluded.lines,
                 coins_of_calls = sums.coins_of_calls + excluded.coins_of_calls,
                 money = sums.money + excluded.money
         )
         UPDATE wallet.history_marks AS mark SET summed_until = $1
         FROM due WHERE mark.wallet_id = due.wallet_id"
    ))
    .bind(until)
    .bind(SUMMED_AT_A_TIME)
    .execute(connection)
    .await?;
    Ok(moved.rows_affected() > 0)
}

/// Finds people whose sums are not those of the lines before their marks.
pub async fn find_mismatched_sums(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(concat!(
        "WITH line AS (
             SELECT t.wallet_id, t.tx_type, ",
        line_sums!(),
        " FROM wallet.history_marks AS mark JOIN wallet.user_transactions AS t
               ON t.wallet_id = mark.wallet_id AND t.created_at < mark.summed_until
             GROUP BY t.wallet_id, t.tx_type
         )
         SELECT DISTINCT w.user_id
         FROM wallet.history_sums AS sums FULL JOIN line USING (wallet_id, tx_type)
         JOIN wallet.user_wallets AS w USING (wallet_id)
         WHERE (sums.lines, sums.coins_of_calls, sums.money)
               IS DISTINCT FROM (line.lines, line.coins_of_calls, line.money)
         ORDER BY w.user_id"
    ))
    .fetch_all(connection)
    .await
}
