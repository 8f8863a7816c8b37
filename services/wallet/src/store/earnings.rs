//! `wallet.call_earnings`: what each call brought its listener.

use std::ops::RangeInclusive;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use sqlx::FromRow;
use talktime_kit::db::PgConnection;
use talktime_kit::india;
use talktime_kit::paging::{ListPage, ListPageRequest};

use crate::domain::earning_days::{EarningDay, EarningSums};
use crate::domain::settlement::{CallSettlement, SettlementPlan};

/// The earning of one call.
#[derive(Clone, Debug, Eq, PartialEq, FromRow)]
pub struct CallEarningRow {
    pub call_id: i64,
    pub caller_id: i64,
    /// `audio` or `video`; none for calls settled without a type.
    pub call_type: Option<String>,
    /// Minutes paid.
    pub minutes: i32,
    /// The coins that the caller paid.
    pub coins: i64,
    /// The sum that the listener earned, in paise.
    pub paise: i64,
    /// The instant of the settlement.
    pub created_at: DateTime<Utc>,
}

/// The totals of all earnings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, FromRow)]
pub struct EarningTotals {
    pub calls: i64,
    /// The coins that callers paid.
    pub coins: i64,
    /// The sum that the listener earned, in paise.
    pub paise: i64,
}

/// The earning of a settled call, to be inserted with its posting.
pub type NewCallEarning = (CallSettlement, SettlementPlan);

/// Lists a page of a listener's earnings, newest first.
pub async fn list(
    connection: &mut PgConnection,
    listener_id: i64,
    page: ListPageRequest,
) -> sqlx::Result<(ListPage<CallEarningRow>, EarningTotals)> {
    let entries = sqlx::query_as(
        "SELECT call_id, caller_id, call_type, minutes, coins, (money * 100)::bigint AS paise,
                created_at
         FROM wallet.call_earnings WHERE listener_id = $1
         ORDER BY created_at DESC, call_id DESC OFFSET $2 LIMIT $3",
    )
    .bind(listener_id)
    .bind(page.offset())
    .bind(page.limit())
    .fetch_all(&mut *connection)
    .await?;
    let totals = load_totals(connection, listener_id).await?;
    let found = ListPage {
        entries,
        total: totals.calls,
    };
    Ok((found, totals))
}

/// Loads the totals of what calls brought a listener.
pub async fn load_totals(
    connection: &mut PgConnection,
    listener_id: i64,
) -> sqlx::Result<EarningTotals> {
    sqlx::query_as(
        "SELECT count(*) AS calls, COALESCE(sum(coins), 0)::bigint AS coins,
                COALESCE(sum(money) * 100, 0)::bigint AS paise
         FROM wallet.call_earnings WHERE listener_id = $1",
    )
    .bind(listener_id)
    .fetch_one(connection)
    .await
}

/// The earnings of a listener, who is an expression of the statement, that cannot be withdrawn yet, in paise: those of calls
/// that were settled after `$2`, and those that were paid for with disputed money.
macro_rules! held_paise {
    ($listener_id:literal) => {
        concat!(
            "((SELECT COALESCE(sum(money), 0) * 100 FROM wallet.call_earnings
               WHERE listener_id = ",
            $listener_id,
            " AND created_at > $2)::bigint
              + (SELECT COALESCE(sum(paise), 0) FROM wallet.disputed_earnings
                 WHERE listener_id = ",
            $listener_id,
            " AND earned_at <= $2)::bigint)"
        )
    };
}
pub(super) use held_paise;

/// Sums the earnings of a listener that cannot be withdrawn yet, in paise: those of calls that were settled after
/// `earned_until`, and those that were paid for with disputed money.
pub async fn sum_held(
    connection: &mut PgConnection,
    listener_id: i64,
    earned_until: DateTime<Utc>,
) -> sqlx::Result<i64> {
    sqlx::query_scalar(concat!("SELECT ", held_paise!("$1")))
        .bind(listener_id)
        .bind(earned_until)
        .fetch_one(connection)
        .await
}

#[derive(FromRow)]
struct EarningDayRow {
    date: NaiveDate,
    calls: i64,
    minutes: i64,
    coins: i64,
    paise: i64,
}

impl From<EarningDayRow> for EarningDay {
    fn from(row: EarningDayRow) -> Self {
        Self {
            date: row.date,
            totals: EarningSums {
                calls: row.calls,
                minutes: row.minutes,
                coins: row.coins,
                paise: row.paise,
            },
        }
    }
}

/// Lists the days of India with earnings of a listener, from the first to the last of `days`. The index of the list
/// of earnings finds them, so the cost is that of the calls in this range.
pub async fn list_days(
    connection: &mut PgConnection,
    listener_id: i64,
    days: &RangeInclusive<NaiveDate>,
) -> sqlx::Result<Vec<EarningDay>> {
    let rows: Vec<EarningDayRow> = sqlx::query_as(
        "SELECT (created_at AT TIME ZONE 'Asia/Kolkata')::date AS date, count(*) AS calls,
                sum(minutes) AS minutes, sum(coins)::bigint AS coins,
                (sum(money) * 100)::bigint AS paise
         FROM wallet.call_earnings
         WHERE listener_id = $1 AND created_at >= $2 AND created_at < $3
         GROUP BY 1 ORDER BY 1",
    )
    .bind(listener_id)
    .bind(india::begins_at(*days.start()))
    .bind(india::begins_at(*days.end()) + TimeDelta::days(1))
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(Into::into).collect())
}
