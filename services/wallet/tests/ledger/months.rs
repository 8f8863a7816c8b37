//! Books whose journal and histories have a partition for each month.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::paging::ListPageRequest;
use talktime_wallet::domain::history::{TransactionHistoryFilter, TransactionType};
use talktime_wallet::store::transactions::TransactionHistoryTotals;

use crate::books::{CALLER, TestBooks, minute, settlement};

/// Moves the clock to this many days after the end of the first partition.
async fn go_beyond_first_month(books: &TestBooks, days: i64) {
    let first_end: DateTime<Utc> =
        sqlx::query_scalar("SELECT min(month_end) FROM list_months('journal')")
            .fetch_one(&books.database.app_pool)
            .await
            .expect("partitioned");
    let target = first_end + TimeDelta::days(days);
    books.clock.advance(target - books.clock.now());
}

/// Two pages of the caller's history, of two lines each.
async fn read_history(books: &TestBooks) -> Vec<String> {
    let mut lines = vec![];
    for page in [1, 2] {
        let page = ListPageRequest::new(page, 2).expect("in range");
        let statement = books
            .ledger
            .load_statement(CALLER, TransactionHistoryFilter::All, page);
        let found = statement.await.expect("readable").found;
        assert_eq!(found.total, 4);
        lines.extend(found.entries.into_iter().map(|line| line.tx_type));
    }
    lines
}

#[tokio::test]
async fn a_call_may_last_from_month_to_month() {
    let books = TestBooks::new().await;
    go_beyond_first_month(&books, -1).await;
    books.recharge("a").await;
    let first = books.charge(&[minute(1)]).await.expect("paid");
    go_beyond_first_month(&books, 1).await;
    books.charge(&[minute(2)]).await.expect("paid");
    go_beyond_first_month(&books, 32).await;
    books.charge(&[minute(3)]).await.expect("paid");
    let repeated = books.charge(&[minute(1)]).await.expect("paid before");
    assert_eq!(repeated, first, "the transaction of another month is found");

    assert_eq!(
        read_history(&books).await,
        ["spend", "spend", "spend", "purchase"]
    );
    books.settle(&settlement(3)).await.expect("settled");
    let months: i64 = sqlx::query_scalar("SELECT count(DISTINCT tableoid) FROM wallet.journal")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("readable");
    assert_eq!(months, 3);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_minute_of_a_month_without_partition_is_charged_once_there_is_one() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    go_beyond_first_month(&books, 200).await;
    assert!(books.charge(&[minute(1)]).await.is_err());
    let mut tx = books.database.app.begin().await.expect("connected");
    sqlx::query("SELECT add_months(12)")
        .execute(&mut *tx)
        .await
        .expect("the service may add months");
    tx.commit().await.expect("added");
    books.charge(&[minute(1)]).await.expect("paid");
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_service_reaches_months_through_their_table_only() {
    let books = TestBooks::new().await;
    for statement in [
        "SELECT FROM wallet.journal_first",
        "DELETE FROM wallet.user_transactions_first",
        "SELECT add_months(25)",
        "SELECT add_next_month('wallet.journal')",
        "ALTER TABLE wallet.journal DETACH PARTITION wallet.journal_first",
    ] {
        let refused = sqlx::query(statement).execute(&books.database.app_pool);
        assert!(refused.await.is_err(), "{statement}");
    }
}

/// The number of lines of each filter, and the totals.
async fn read_totals(books: &TestBooks) -> (Vec<i64>, TransactionHistoryTotals) {
    let filters = [
        TransactionHistoryFilter::All,
        TransactionHistoryFilter::OneType(TransactionType::Spend),
        TransactionHistoryFilter::OneType(TransactionType::Purchase),
    ];
    let mut counts = vec![];
    let mut totals = TransactionHistoryTotals::default();
    for filter in filters {
        let page = ListPageRequest::new(1, 2).expect("in range");
        let statement = books.ledger.load_statement(CALLER, filter, page);
        let statement = statement.await.expect("readable");
        counts.push(statement.found.total);
        totals = statement.totals;
    }
    (counts, totals)
}

async fn sum_all(books: &TestBooks) {
    while books.ledger.sum_histories().await.expect("summed") {}
}

/// The number of lines that have been summed.
async fn count_summed(books: &TestBooks) -> i64 {
    sqlx::query_scalar("SELECT COALESCE(sum(lines), 0)::bigint FROM wallet.history_sums")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("readable")
}

#[tokio::test]
async fn totals_are_the_same_once_past_months_are_summed() {
    let books = TestBooks::new().await;
    go_beyond_first_month(&books, -1).await;
    books.recharge("a").await;
    books.charge(&[minute(1)]).await.expect("paid");
    sum_all(&books).await;
    assert_eq!(count_summed(&books).await, 0, "the month is not over");

    go_beyond_first_month(&books, 1).await;
    books.charge(&[minute(2)]).await.expect("paid");
    let before = read_totals(&books).await;
    assert_eq!(before.0, [3, 2, 1]);
    for _ in 0..2 {
        sum_all(&books).await;
        assert_eq!(count_summed(&books).await, 2, "each line is summed once");
        assert_eq!(read_totals(&books).await, before);
    }

    go_beyond_first_month(&books, 32).await;
    books.charge(&[minute(3)]).await.expect("paid");
    sum_all(&books).await;
    assert_eq!(count_summed(&books).await, 3);
    assert_eq!(read_totals(&books).await.0, [4, 3, 1]);
    books.assert_consistent().await;
}

#[tokio::test]
async fn changed_sums_are_a_difference() {
    let books = TestBooks::new().await;
    go_beyond_first_month(&books, -1).await;
    books.recharge("a").await;
    go_beyond_first_month(&books, 1).await;
    sum_all(&books).await;
    books.assert_consistent().await;
    let changed = books.tamper("UPDATE wallet.history_sums SET lines = lines + 1");
    let found = changed.await;
    assert_eq!(found.len(), 1, "{found:?}");
}
