//! `wallet.user_transactions`: the history that people see.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::PgConnection;
use talktime_kit::paging::{ListPage, ListPageRequest};

use super::history_sums::line_sums;
use crate::domain::history::{TransactionHistoryFilter, TransactionType};

/// One line of a person's history.
#[derive(Clone, Debug, Eq, PartialEq, FromRow)]
pub struct TransactionHistoryLine {
    pub transaction_id: i64,
    /// The contract's word for its type.
    pub tx_type: String,
    /// Change of the coins.
    pub coins_change: i64,
    /// Rupees that were paid, earned or withdrawn, in paise.
    pub money_change_paise: i64,
    /// Text that is shown to people.
    pub description: String,
    /// The call, for transfers that belong to a call.
    pub call_id: Option<i64>,
    pub created_at: DateTime<Utc>,
}

/// The totals of a person's whole history.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromRow)]
pub struct TransactionHistoryTotals {
    /// Spent on minutes and not returned.
    pub coins_spent: i64,
    /// Paid for coins and not taken back, in paise.
    pub paise_spent: i64,
    /// The coins that callers paid for calls with this person.
    pub coins_earned: i64,
    /// Earned with calls, in paise.
    pub paise_earned: i64,
}

/// `SELECT` of lines of a person's history, of which `$1` is the person. The wallet is found first, and not joined, so
/// that months are read from the newest on, and no more of them than the page needs.
macro_rules! lines {
    ($condition:literal) => {
        concat!(
            "SELECT t.transaction_id, t.tx_type, t.coins_change,
                    (t.money_change * 100)::bigint AS money_change_paise, t.description, t.call_id,
                    t.created_at
             FROM wallet.user_transactions AS t
             WHERE t.wallet_id = (SELECT wallet_id FROM wallet.user_wallets WHERE user_id = $1) ",
            $condition,
            " ORDER BY t.created_at DESC, t.transaction_id DESC"
        )
    };
}

/// `SELECT` of the number of these lines. Those of months that are over have been counted (`history_sums`).
macro_rules! count {
    ($condition:literal) => {
        concat!(
            "SELECT (SELECT count(*) FROM wallet.user_transactions AS t
                     WHERE t.wallet_id = w.wallet_id
                       AND t.created_at >= COALESCE(mark.summed_until, '-infinity') ",
            $condition,
            ") + (SELECT COALESCE(sum(t.lines), 0)::bigint FROM wallet.history_sums AS t
                  WHERE t.wallet_id = w.wallet_id ",
            $condition,
            ") FROM wallet.user_wallets AS w LEFT JOIN wallet.history_marks AS mark USING (wallet_id)
             WHERE w.user_id = $1"
        )
    };
}

/// Lists a page of a person's history, newest first.
pub async fn list(
    connection: &mut PgConnection,
    user_id: i64,
    lines: TransactionHistoryFilter,
    page: ListPageRequest,
) -> sqlx::Result<ListPage<TransactionHistoryLine>> {
    // Minutes are most of the lines and use the index of all lines; the other types have a small index of
    // their own.
    let (select, count) = match lines {
        TransactionHistoryFilter::All => (
            concat!(lines!("AND $2::text[] IS NULL"), " OFFSET $3 LIMIT $4"),
            count!("AND $2::text[] IS NULL"),
        ),
        TransactionHistoryFilter::OneType(TransactionType::Spend) => (
            concat!(lines!("AND t.tx_type = ANY($2)"), " OFFSET $3 LIMIT $4"),
            count!("AND t.tx_type = ANY($2)"),
        ),
        TransactionHistoryFilter::OneType(_) | TransactionHistoryFilter::ListenerMoney => (
            concat!(
                lines!("AND t.tx_type <> 'spend' AND t.tx_type = ANY($2)"),
                " OFFSET $3 LIMIT $4"
            ),
            count!("AND t.tx_type <> 'spend' AND t.tx_type = ANY($2)"),
        ),
    };
    let entries = sqlx::query_as(select)
        .bind(user_id)
        .bind(lines.types())
        .bind(page.offset())
        .bind(page.limit())
        .fetch_all(&mut *connection)
        .await?;
    let total = sqlx::query_scalar(count)
        .bind(user_id)
        .bind(lines.types())
        .fetch_optional(connection)
        .await?
        .unwrap_or_default();
    Ok(ListPage { entries, total })
}

/// The totals of a person's whole history.
pub async fn load_totals(
    connection: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<TransactionHistoryTotals> {
    sqlx::query_as(concat!(
        "WITH owner AS (
             SELECT w.wallet_id, COALESCE(mark.summed_until, '-infinity') AS summed_until
             FROM wallet.user_wallets AS w LEFT JOIN wallet.history_marks AS mark USING (wallet_id)
             WHERE w.user_id = $1
         ), total AS (
             SELECT s.tx_type, s.lines, s.coins_of_calls, s.money
             FROM wallet.history_sums AS s JOIN owner USING (wallet_id)
             UNION ALL
             SELECT t.tx_type, ",
        line_sums!(),
        " FROM owner JOIN wallet.user_transactions AS t
               ON t.wallet_id = owner.wallet_id AND t.created_at >= owner.summed_until
             GROUP BY t.tx_type
         )
         SELECT COALESCE(-sum(coins_of_calls) FILTER (WHERE tx_type IN ('spend', 'refund')), 0)::bigint
                    AS coins_spent,
                COALESCE(sum(money) FILTER
                    (WHERE tx_type IN ('purchase', 'refund')) * 100, 0)::bigint AS paise_spent,
                (SELECT COALESCE(sum(coins), 0)::bigint FROM wallet.call_earnings
                 WHERE listener_id = $1) AS coins_earned,
                COALESCE(sum(money) FILTER (WHERE tx_type = 'earn') * 100, 0)::bigint
                    AS paise_earned
         FROM total"
    ))
    .bind(user_id)
    .fetch_one(connection)
    .await
}
