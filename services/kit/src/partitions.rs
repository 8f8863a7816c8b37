//! Partitions of the tables that grow for ever, one a month, which are added ahead of time. The functions of
//! `migrations/0002_month_partitions.sql` do the work.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, FromRow};

use crate::db::{DatabasePool, PgConnection};
use crate::deadlines;
use crate::lifecycle::ProcessLifecycle;
use crate::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

/// Months after the present one that have partitions. Whatever prevents new ones has to be repaired within them.
const MONTHS_AHEAD: i32 = 3;

const PARTITION_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("partitions.add"),
    interval: Duration::from_hours(1),
    retry_after: Duration::from_secs(10),
    deadline: Duration::from_secs(30),
    first_turn: FirstTurnStart::AtOnce,
};

/// Adds the partitions of coming months every hour until the process stops. May run on many replicas at once.
pub(crate) fn start_adding(lifecycle: &ProcessLifecycle, db: DatabasePool) {
    periodic::start(lifecycle, PARTITION_WORK, move || {
        add_and_measure(db.clone())
    });
}

/// Measures even if nothing could be added, since the gauge has to fall then.
async fn add_and_measure(db: DatabasePool) -> anyhow::Result<NextTurnStart> {
    let added = add_months(&db).await;
    record_months_ahead(&db).await?;
    added.context("failed to add the partitions of coming months")?;
    Ok(NextTurnStart::AfterInterval)
}

async fn add_months(db: &DatabasePool) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query("SELECT add_months($1)")
        .bind(MONTHS_AHEAD)
        .execute(&mut *tx)
        .await?;
    tx.commit().await
}

#[derive(FromRow)]
struct PartitionedTable {
    table_name: String,
    months_ahead: i32,
}

async fn record_months_ahead(db: &DatabasePool) -> sqlx::Result<()> {
    let tables: Vec<PartitionedTable> =
        sqlx::query_as("SELECT table_name, months_ahead FROM list_partitioned_tables()")
            .fetch_all(&mut *db.acquire().await?)
            .await?;
    for table in tables {
        metrics::gauge!("partition_months_ahead", "table" => table.table_name)
            .set(table.months_ahead);
    }
    Ok(())
}

/// Parses a month such as `2025-01`; returns its first instant.
///
/// # Errors
/// The text is no month.
pub fn parse_month(text: &str) -> Result<DateTime<Utc>, chrono::ParseError> {
    let first_day: NaiveDate = format!("{text}-01").parse()?;
    Ok(first_day.and_time(NaiveTime::MIN).and_utc())
}

/// Returns the first instant of the month of a moment, in UTC like the partitions.
pub fn find_month_begin(moment: DateTime<Utc>) -> DateTime<Utc> {
    let day = moment.date_naive();
    let first_day = day.with_day(1).unwrap_or(day);
    first_day.and_time(NaiveTime::MIN).and_utc()
}

/// Detaches the partitions of a table that end at `until` or before, the oldest first, and returns their names. The
/// present month stays in any case. Each is a table of its own afterwards, to which the service has no rights.
/// Readers and writers of the table do not wait. A run that was interrupted is completed by the next one.
///
/// # Errors
/// The database does not answer, or the table is not partitioned.
pub async fn detach_months(
    owner_url: &SecretString,
    table: &'static str,
    until: DateTime<Utc>,
) -> anyhow::Result<Vec<String>> {
    let options = owner_url.expose_secret().parse().context("owner_url")?;
    let mut owner = PgConnection::open(&options)
        .await
        .context("connecting as the schema's owner")?;
    owner.set_statement_timeout(deadlines::POSTGRES_FULL_SCAN);
    let months: Vec<MonthPartition> = sqlx::query_as(
        "SELECT partition, is_detaching FROM list_months($1::regclass)
         WHERE month_end <= LEAST($2, now()) ORDER BY month_end",
    )
    .bind(table)
    .bind(until)
    .fetch_all(&mut owner)
    .await?;
    for month in &months {
        detach(&mut owner, table, month).await?;
    }
    owner.close().await?;
    Ok(months.into_iter().map(|month| month.partition).collect())
}

#[derive(FromRow)]
struct MonthPartition {
    partition: String,
    is_detaching: bool,
}

async fn detach(owner: &mut PgConnection, table: &str, month: &MonthPartition) -> sqlx::Result<()> {
    let mode = if month.is_detaching {
        "FINALIZE"
    } else {
        "CONCURRENTLY"
    };
    let statement = format!(
        "ALTER TABLE {table} DETACH PARTITION {} {mode}",
        month.partition
    );
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(owner)
        .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_begins_with_its_first_day() {
        let january = parse_month("2025-01").expect("a month");
        assert_eq!(january.to_rfc3339(), "2025-01-01T00:00:00+00:00");
        for text in ["2025", "2025-13", "2025-01-01", "January"] {
            assert!(parse_month(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_month_lasts_until_its_last_instant() {
        let moment = |text: &str| text.parse::<DateTime<Utc>>().expect("a moment");
        let january = moment("2025-01-01T00:00:00Z");
        assert_eq!(find_month_begin(january), january);
        assert_eq!(find_month_begin(moment("2025-01-31T23:59:59Z")), january);
    }
}
