//! The data of the measurement of growth: months of minutes, which `growth/growth.sql` fills backwards from the present
//! one. Each million of minutes adds a month with people of its own and with some who come every month.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sqlx::{AssertSqlSafe, Executor, PgPool};
use tokio::process::Command;

use crate::stack;

/// First id of these people, far above those of registered users.
const FIRST: i64 = 4_000_000_000;
/// Distance of the ids of the people of two months.
const PEOPLE_OF_MONTH: i64 = 1_000_000;
/// Callers who come every month.
const REGULARS: i32 = 50;
/// Calls of a caller in a month, and minutes of a call, as `growth/growth.sql` has them.
const TURNS: i32 = 20;
const CALL_MINUTES: i32 = 10;
/// Calls of the services have ids from here on, and those of the data lie below.
const FIRST_CALL: i64 = 1_000_000_000;
/// Bytes of a minute before any have been measured, and of the log of the database.
const BYTES_OF_MINUTE: i64 = 1_100;
const BYTES_OF_LOG: i64 = 2_000_000_000;
const BYTES_OF_GB: i64 = 1_000_000_000;
/// Time in which the wallet sums the months that are over.
const SUMMED_WITHIN: Duration = Duration::from_mins(30);
const POLL: Duration = Duration::from_millis(500);
/// The tables that grow with each minute.
const TABLES: [&str; 5] = [
    "wallet.transfers",
    "wallet.journal",
    "wallet.user_transactions",
    "wallet.call_earnings",
    "calls.user_calls",
];

/// The people whose requests are measured.
#[derive(Clone, Copy)]
pub(crate) struct GrowthPeople {
    /// Number of callers of a month, those who come every month included.
    callers: i32,
}

impl GrowthPeople {
    /// Returns a caller of the present month alone.
    pub(crate) fn recent_caller(self, number: usize) -> i64 {
        let others = usize::try_from(self.callers - REGULARS).unwrap_or(1);
        let offset = i64::try_from(number % others).unwrap_or_default();
        FIRST + PEOPLE_OF_MONTH + i64::from(REGULARS) + offset
    }
}

/// Returns a caller of every month.
pub(crate) fn regular_caller(number: usize) -> i64 {
    FIRST + i64::try_from(number).unwrap_or_default() % i64::from(REGULARS)
}

/// Months of minutes.
pub(crate) struct GrowthData {
    database: PgPool,
    callers: i32,
    months: u32,
}

impl GrowthData {
    /// Prepares tables without minutes for months of so many minutes.
    pub(crate) async fn prepare(
        database: PgPool,
        minutes_of_month: f64,
        months_max: u32,
    ) -> anyhow::Result<Self> {
        database
            .execute(include_str!("../growth/growth.sql"))
            .await?;
        sqlx::query(
            "SELECT bench.split_months(parent::regclass, $1)
             FROM unnest(ARRAY['wallet.journal', 'wallet.user_transactions']) AS parent",
        )
        .bind(i32::try_from(months_max)?)
        .execute(&database)
        .await
        .context("splitting months")?;
        sqlx::query("SELECT setval(pg_get_serial_sequence('calls.user_calls', 'call_id'), $1)")
            .bind(FIRST_CALL)
            .execute(&database)
            .await?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "a month of two billion callers does not fit on any disk"
        )]
        let callers = (minutes_of_month / f64::from(TURNS * CALL_MINUTES)) as i32;
        Ok(Self {
            database,
            callers,
            months: 0,
        })
    }

    pub(crate) fn people(&self) -> GrowthPeople {
        GrowthPeople {
            callers: self.callers,
        }
    }

    /// Months that are filled.
    pub(crate) fn months(&self) -> u32 {
        self.months
    }

    pub(crate) fn minutes(&self) -> i64 {
        i64::from(self.months) * self.minutes_of_month()
    }

    fn minutes_of_month(&self) -> i64 {
        i64::from(self.callers) * i64::from(TURNS * CALL_MINUTES)
    }

    /// Returns the number of months, at most `wanted`, that leave so many gigabytes of the disk free.
    pub(crate) async fn limit_months(&self, wanted: u32, keep_free_gb: u64) -> anyhow::Result<u32> {
        let keep_free = i64::try_from(keep_free_gb)? * BYTES_OF_GB;
        let available = self.read_free_bytes().await? - keep_free - BYTES_OF_LOG;
        let of_month = self.measure_bytes_of_minute().await? * self.minutes_of_month();
        let more = u32::try_from(available / of_month).unwrap_or_default();
        let fitting = wanted.min(self.months + more);
        if fitting < wanted {
            println!("  {wanted} months would leave less than {keep_free_gb} GB free");
        }
        Ok(fitting)
    }

    /// Reads how much of the disk of the database, which runs on this machine, is free.
    async fn read_free_bytes(&self) -> anyhow::Result<i64> {
        let folder: String = sqlx::query_scalar("SHOW data_directory")
            .fetch_one(&self.database)
            .await?;
        let output = Command::new("df")
            .args(["--block-size=1", "--output=avail", &folder])
            .output()
            .await
            .context("cannot run df")?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let bytes = printed.lines().nth(1).context("df printed no size")?;
        Ok(bytes.trim().parse()?)
    }

    async fn measure_bytes_of_minute(&self) -> anyhow::Result<i64> {
        if self.months == 0 {
            return Ok(BYTES_OF_MINUTE);
        }
        let mut bytes = 0;
        for table in TABLES {
            bytes += self.measure_bytes(table).await?;
        }
        Ok(bytes / self.minutes() + 1)
    }

    /// Measures a table with its partitions and indexes.
    async fn measure_bytes(&self, table: &str) -> anyhow::Result<i64> {
        let bytes = sqlx::query_scalar(
            "SELECT pg_total_relation_size($1::text::regclass)
                    + (SELECT COALESCE(sum(pg_total_relation_size(relid)), 0)::bigint
                       FROM pg_partition_tree($1::text::regclass))",
        );
        Ok(bytes.bind(table).fetch_one(&self.database).await?)
    }

    /// Prints the bytes of a minute by tables.
    pub(crate) async fn print_bytes(&self) -> anyhow::Result<()> {
        for table in TABLES {
            let bytes = self.measure_bytes(table).await? as f64 / self.minutes() as f64;
            println!("  {table:<26} {bytes:>6.0} bytes a minute, with indexes");
        }
        Ok(())
    }

    /// Fills months until there are so many, and leaves the database without work in the background.
    pub(crate) async fn grow_to(&mut self, months: u32) -> anyhow::Result<()> {
        let started_at = Instant::now();
        while self.months < months {
            self.fill_month(i32::try_from(self.months)?)
                .await
                .context("filling a month")?;
            self.months += 1;
        }
        self.sum_histories().await?;
        for table in TABLES {
            let vacuum = format!("VACUUM (ANALYZE) {table}");
            sqlx::raw_sql(AssertSqlSafe(vacuum))
                .execute(&self.database)
                .await?;
        }
        self.database.execute("CHECKPOINT").await?;
        println!(
            "\n{:.1} million minutes, filled in {:.0} s",
            self.minutes() as f64 / 1e6,
            started_at.elapsed().as_secs_f64()
        );
        Ok(())
    }

    /// Has the wallet sum all months that are over, and waits for it. Months are filled behind what it has summed before,
    /// which does not happen elsewhere.
    async fn sum_histories(&self) -> anyhow::Result<()> {
        self.database
            .execute("TRUNCATE wallet.history_marks, wallet.history_sums")
            .await?;
        stack::restart("wallet").await?;
        let begun = Instant::now();
        while self.are_sums_missing().await? {
            ensure!(begun.elapsed() < SUMMED_WITHIN, "months are not summed");
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    async fn are_sums_missing(&self) -> sqlx::Result<bool> {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM wallet.user_wallets
                            LEFT JOIN wallet.history_marks USING (wallet_id)
                            WHERE summed_until IS NULL OR summed_until = '-infinity')",
        )
        .fetch_one(&self.database)
        .await
    }

    async fn fill_month(&self, month: i32) -> sqlx::Result<()> {
        sqlx::query("SELECT bench.open_month($1, $2, $3, $4)")
            .bind(FIRST)
            .bind(REGULARS)
            .bind(month)
            .bind(self.callers)
            .execute(&self.database)
            .await?;
        let calls_of_month = i64::from(self.callers) * i64::from(TURNS);
        let first_call = FIRST_CALL - i64::from(month + 1) * calls_of_month;
        for turn in 0..TURNS {
            sqlx::query("SELECT bench.add_calls($1, $2, $3, $4, $5)")
                .bind(first_call + i64::from(turn) * i64::from(self.callers))
                .bind(month)
                .bind(self.callers)
                .bind(turn)
                .bind(TURNS)
                .execute(&self.database)
                .await?;
        }
        self.database
            .execute("SELECT bench.update_wallets()")
            .await?;
        Ok(())
    }
}
