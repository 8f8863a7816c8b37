//! Earnings by day, on a real Postgres.

use chrono::{NaiveDate, TimeDelta};
use talktime_kit::india;
use talktime_wallet::domain::WalletError;
use talktime_wallet::domain::earning_days::{EarningSummary, EarningSums};

use crate::books::{LISTENER, TestBooks};

async fn load_summary(books: &TestBooks) -> EarningSummary {
    let summary = books
        .ledger
        .load_earning_summary(LISTENER, None, None)
        .await;
    summary.expect("readable")
}

fn sums(calls: i64, rupees: i64) -> EarningSums {
    EarningSums {
        calls,
        minutes: rupees,
        coins: rupees,
        paise: rupees * 100,
    }
}

#[tokio::test]
async fn a_day_of_earnings_begins_at_midnight_in_india() {
    let books = TestBooks::new().await;
    // Friday, 17 January 2025, half past one in the afternoon in India.
    books.earn(1, 3).await;
    books
        .clock
        .advance(TimeDelta::hours(10) + TimeDelta::minutes(29));
    books.earn(2, 2).await;
    books.clock.advance(TimeDelta::minutes(1));
    books.earn(3, 1).await;
    let saturday = load_summary(&books).await;
    let newest: Vec<EarningSums> = saturday.days[4..].iter().map(|day| day.totals).collect();
    assert_eq!(newest, [EarningSums::default(), sums(2, 5), sums(1, 1)]);
    let last = saturday.days.last().expect("a week of days").date;
    assert_eq!(last, NaiveDate::from_ymd_opt(2025, 1, 18).expect("a date"));
    assert_eq!(saturday.today, sums(1, 1));
    assert_eq!((saturday.week, saturday.month), (sums(3, 6), sums(3, 6)));

    books.clock.advance(TimeDelta::days(2));
    let monday = load_summary(&books).await;
    assert_eq!(monday.today, EarningSums::default());
    assert_eq!(monday.week, EarningSums::default());
    assert_eq!(monday.month, sums(3, 6));
}

#[tokio::test]
async fn a_range_of_more_than_a_quarter_is_refused() {
    let books = TestBooks::new().await;
    let today = india::date(books.clock.now());
    let from = today - TimeDelta::days(92);
    let refused = books
        .ledger
        .load_earning_summary(LISTENER, Some(from), None)
        .await;
    assert!(matches!(refused, Err(WalletError::InvalidDateRange)));
}

#[tokio::test]
async fn days_are_added_up_from_the_index_of_the_listener() {
    let books = TestBooks::new().await;
    let mut db = books.database.connect().await;
    sqlx::query("SET enable_seqscan = off")
        .execute(&mut db)
        .await
        .expect("set");
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT (created_at AT TIME ZONE 'Asia/Kolkata')::date, sum(money)
         FROM wallet.call_earnings
         WHERE listener_id = 2 AND created_at >= '2025-01-01' AND created_at < '2025-02-01'
         GROUP BY 1",
    )
    .fetch_all(&mut db)
    .await
    .expect("a plan");
    let plan = plan.join("\n");
    assert!(plan.contains("call_earnings_listener"), "{plan}");
    assert!(plan.contains("created_at >="), "{plan}");
}
