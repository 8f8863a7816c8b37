//! Coins that one admin may give on one day.

use chrono::TimeDelta;
use futures::future::join_all;
use talktime_kit::Error;
use talktime_wallet::domain::history::TransactionType;
use talktime_wallet::ledger::CoinBonusGrant;
use talktime_wallet::provider::PaymentProvider;

use crate::books::{ADMIN, CALLER, TestBooks, terms};

const OTHER_ADMIN: i64 = 91;

async fn books_with_limit(daily_coins: i64) -> TestBooks {
    let mut terms = terms();
    terms.daily_bonus_coins = Some(daily_coins);
    let books = TestBooks::with_provider(terms, PaymentProvider::Sandbox).await;
    books.recharge("first").await;
    books
}

/// Gives coins, or returns the code of the refusal.
async fn give(books: &TestBooks, admin_id: i64, coins: i64, id: &str) -> Result<(), String> {
    let bonus = CoinBonusGrant {
        user_id: CALLER,
        admin_id,
        tx_type: TransactionType::Bonus,
        coins,
        fresh_id: id.to_owned(),
        idempotency: None,
    };
    let given = books.ledger.give_bonus(&bonus).await;
    given
        .map(drop)
        .map_err(|error| Error::from(error).code().to_owned())
}

#[tokio::test]
async fn an_admin_gives_a_bounded_number_of_coins_a_day() {
    let books = books_with_limit(100).await;
    let before = books.load_coins(CALLER).await;
    let refused = Err("above_bonus_limit".to_owned());
    assert_eq!(give(&books, ADMIN, 101, "a").await, refused);
    assert_eq!(give(&books, ADMIN, 60, "b").await, Ok(()));
    assert_eq!(give(&books, ADMIN, 41, "c").await, refused);
    assert_eq!(give(&books, ADMIN, 40, "d").await, Ok(()));
    assert_eq!(give(&books, OTHER_ADMIN, 100, "e").await, Ok(()));
    books.clock.advance(TimeDelta::hours(24));
    assert_eq!(give(&books, ADMIN, 100, "f").await, Ok(()));
    assert_eq!(books.load_coins(CALLER).await, before + 300);
    books.assert_consistent().await;
}

#[tokio::test]
async fn concurrent_gifts_do_not_exceed_the_limit() {
    let books = books_with_limit(100).await;
    let ids: Vec<String> = (0..8).map(|index| index.to_string()).collect();
    let gifts = join_all(ids.iter().map(|id| give(&books, ADMIN, 30, id))).await;
    assert_eq!(
        gifts.iter().filter(|gift| gift.is_ok()).count(),
        3,
        "{gifts:?}"
    );
    books.assert_consistent().await;
}
