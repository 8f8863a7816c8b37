//! Histories may lag, and balances may not.

use std::time::Duration;

use talktime_kit::db::StandbyReads;
use talktime_kit::paging::ListPageRequest;
use talktime_kit::testing::TestDatabase;
use talktime_wallet::SCHEMA;
use talktime_wallet::domain::earning_days::EarningSums;
use talktime_wallet::domain::history::TransactionHistoryFilter;

use crate::books::{CALLER, LISTENER, TestBooks, minute, recharge, settle_call, settlement};

/// A database without rows stands for a standby that is far behind.
#[tokio::test]
async fn a_standby_answers_histories_and_summaries_and_never_a_balance() {
    let (books, behind) = (TestBooks::new().await, TestDatabase::new(SCHEMA).await);
    let primary = books.database.app.clone();
    let reads = StandbyReads::new(primary, behind.app.clone(), Duration::ZERO);
    reads.observe_primary().await.expect("answered");
    let ledger = books.with_reads(reads);

    let bought = ledger.redeem_recharge(&recharge("a")).await;
    assert_eq!(bought.expect("on the card").balance_coins, 300);
    books.charge(&[minute(1)]).await.expect("paid");
    let settled = settle_call(&ledger, &settlement(1)).await;
    assert_eq!(settled.expect("settled").caller_balance_coins, 290);

    let page = ListPageRequest::new(1, 20).expect("in range");
    let statement = ledger.load_statement(CALLER, TransactionHistoryFilter::All, page);
    let statement = statement.await.expect("readable");
    assert_eq!(statement.found.total, 0);
    assert_eq!(statement.totals.coins_spent, 0);
    assert_eq!(statement.balance.balance_coins, 290);
    let coins = ledger.list_coins(&[CALLER]).await.expect("readable");
    assert_eq!(coins[0].balance_coins, 290);

    let (purchases, _) = ledger.list_purchases(CALLER, page).await.expect("readable");
    assert_eq!(purchases.total, 0);
    let (earnings, _) = ledger
        .list_earnings(LISTENER, page)
        .await
        .expect("readable");
    assert_eq!(earnings.total, 0);
    let summary = ledger.load_earning_summary(LISTENER, None, None).await;
    assert_eq!(summary.expect("readable").today, EarningSums::default());
    books.assert_consistent().await;
}
