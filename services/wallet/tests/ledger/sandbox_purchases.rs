//! Purchases of the sandbox that share a transaction.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use talktime_kit::idempotency::{self, KeyClaimOutcome, KeyedRequest};
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_wallet::domain::WalletError;
use talktime_wallet::ledger::{RechargeOutcome, RechargeProcessor, RechargeRequest, close_account};
use talktime_wallet::provider::PaymentProvider;

use crate::books::{CALLER, TestBooks, recharge, terms};
use crate::payments::{charged_back, notify, ordered_and_spent};

/// People without a wallet.
const OTHERS: [i64; 2] = [3, 4];
/// Less than the time of a request at the gateway, five seconds.
const REQUEST_TIME: Duration = Duration::from_millis(4_500);

fn purchase_key(user_id: i64, key: String) -> KeyedRequest {
    KeyedRequest::new(user_id, "POST /calls/recharge", key, &()).expect("valid")
}

/// Buys 300 coins for each of these users at the same time; returns the outcomes in order.
async fn buy_together(
    books: &TestBooks,
    user_ids: &[i64],
) -> Vec<Result<RechargeOutcome, WalletError>> {
    let processor = RechargeProcessor::start(&ProcessLifecycle::default(), books.ledger.clone());
    let purchases = user_ids.iter().enumerate().map(|(n, user_id)| {
        let request = RechargeRequest {
            user_id: *user_id,
            idempotency: Some(purchase_key(*user_id, format!("key-{n}"))),
            ..recharge(&format!("together-{n}"))
        };
        processor.redeem_recharge(request)
    });
    join_all(purchases).await
}

async fn assert_bought(
    books: &TestBooks,
    user_id: i64,
    outcome: &Result<RechargeOutcome, WalletError>,
) {
    let bought = outcome.as_ref().map(|outcome| outcome.balance_coins);
    assert_eq!(bought.ok(), Some(300), "{outcome:?}");
    assert_eq!(books.load_coins(user_id).await, 300);
}

#[tokio::test]
async fn purchases_that_share_a_transaction_are_made_once_for_each_key() {
    let books = TestBooks::new().await;
    let processor = RechargeProcessor::start(&ProcessLifecycle::default(), books.ledger.clone());
    let purchases = (0..60).map(|n| {
        let (user_id, key) = (1 + n % 4, format!("key-{}", n % 20));
        let request = RechargeRequest {
            user_id,
            idempotency: Some(purchase_key(user_id, key)),
            ..recharge(&n.to_string())
        };
        let processor = &processor;
        async move {
            (
                n % 20,
                processor.redeem_recharge(request).await.expect("paid"),
            )
        }
    });
    let mut outcomes = HashMap::new();
    for (key, outcome) in join_all(purchases).await {
        assert_eq!(*outcomes.entry(key).or_insert(outcome.clone()), outcome);
    }
    assert_eq!(outcomes.len(), 20);
    for user_id in 1..=4 {
        let of_buyer = outcomes.iter().filter(|(key, _)| 1 + *key % 4 == user_id);
        let mut balances: Vec<i64> = of_buyer.map(|(_, each)| each.balance_coins).collect();
        balances.sort_unstable();
        assert_eq!(balances, [300, 600, 900, 1_200, 1_500], "user {user_id}");
        assert_eq!(books.load_coins(user_id).await, 5 * 300);
    }
    books.assert_consistent().await;
}

#[tokio::test]
async fn two_purchases_in_one_transaction_pay_a_debt_once() {
    let (books, _stand_in, payment) = ordered_and_spent().await;
    let lost = charged_back(&payment, "disp_1", 15_000);
    notify(&books, &lost, "event_1").await.expect("handled");
    // The caller owes 250 coins, and goes on in the sandbox.
    let books = TestBooks::in_database(books.database, terms(), PaymentProvider::Sandbox);
    let bought = buy_together(&books, &[CALLER, CALLER]).await.into_iter();
    let balances = bought.map(|outcome| outcome.expect("bought").balance_coins);
    assert_eq!(balances.collect::<Vec<_>>(), [50, 350]);
    assert_eq!(books.load_coins(CALLER).await, 350);
    let debt: i64 =
        sqlx::query_scalar("SELECT debt_coins FROM wallet.user_wallets WHERE user_id = 1")
            .fetch_one(&books.database.app_pool)
            .await
            .expect("readable");
    assert_eq!(debt, 0);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_buyer_who_is_deleted_fails_alone() {
    let books = TestBooks::new().await;
    books.recharge("before").await;
    let mut tx = books.database.app.begin().await.expect("connected");
    close_account(&mut tx, CALLER, &[], books.clock.now())
        .await
        .expect("closed");
    tx.commit().await.expect("committed");
    let begun = Instant::now();
    let bought = buy_together(&books, &[OTHERS[0], CALLER, OTHERS[1]]).await;
    assert!(begun.elapsed() < REQUEST_TIME, "{:?}", begun.elapsed());
    assert!(
        matches!(bought[1], Err(WalletError::NoSuchUser)),
        "{bought:?}"
    );
    assert_bought(&books, OTHERS[0], &bought[0]).await;
    assert_bought(&books, OTHERS[1], &bought[2]).await;
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_buyer_whose_key_is_held_fails_alone() {
    let books = TestBooks::new().await;
    let mut holder = books.database.app.begin().await.expect("connected");
    let held = purchase_key(CALLER, "key-1".to_owned());
    let claimed = idempotency::begin::<RechargeOutcome>(&mut holder, &held).await;
    assert!(matches!(claimed, Ok(KeyClaimOutcome::First)), "{claimed:?}");
    let bought = buy_together(&books, &[OTHERS[0], CALLER, OTHERS[1]]).await;
    assert!(
        matches!(bought[1], Err(WalletError::Other(_))),
        "{bought:?}"
    );
    assert_bought(&books, OTHERS[0], &bought[0]).await;
    assert_bought(&books, OTHERS[1], &bought[2]).await;
    holder.rollback().await.expect("rolled back");
    assert_eq!(books.load_coins(CALLER).await, 0);
    books.assert_consistent().await;
}
