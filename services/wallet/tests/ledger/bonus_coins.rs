//! Coins that were given: they are spent first, earn listeners nothing, return to where they came from, and are no part of
//! disputes and reversals of payments.

use talktime_wallet::domain::settlement::CallSettlement;
use talktime_wallet::ledger::{ChargeOutcome, close_account};
use talktime_wallet::provider::PaymentProvider;

use crate::books::{CALLER, LISTENER, TestBooks, minute, settlement, terms};
use crate::holds::disputed;
use crate::payments::{charged_back, notify, ordered, proof, prove};

/// The caller's coins, and the part of them that was given.
async fn load_coins(books: &TestBooks) -> (i64, i64) {
    let balance = books.ledger.load_balance(CALLER).await.expect("readable");
    (balance.balance_coins, balance.bonus_coins)
}

async fn load_earned(books: &TestBooks) -> i64 {
    let balance = books.ledger.load_balance(LISTENER).await;
    balance.expect("readable").withdrawable_paise
}

/// The coins that an account of the journal has received, less those that it has given.
async fn load_account_coins(books: &TestBooks, account: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT COALESCE(sum(CASE WHEN credit_account = $1 THEN amount ELSE -amount END), 0)::bigint
         FROM wallet.journal WHERE ledger = 'coins' AND $1 IN (credit_account, debit_account)",
    )
    .bind(account)
    .fetch_one(&books.database.app_pool)
    .await
    .expect("readable")
}

/// Books in which the caller has bought 300 coins and was given 25.
async fn books_with_gift(bonus_earns: bool) -> TestBooks {
    let mut terms = terms();
    terms.bonus_earns = bonus_earns;
    let books = TestBooks::with_provider(terms, PaymentProvider::Sandbox).await;
    books.recharge("first").await;
    books.give(CALLER, 25, "gift").await;
    assert_eq!(load_coins(&books).await, (325, 25));
    books.assert_consistent().await;
    books
}

/// Charges the first three minutes, of ten coins each, in one batch.
async fn charge_three(books: &TestBooks) {
    let minutes = [minute(1), minute(2), minute(3)];
    let charged = books.charge(&minutes).await.expect("charged");
    let given = charged.iter().map(|outcome| match outcome {
        ChargeOutcome::Charged { bonus_coins, .. } => *bonus_coins,
        other => panic!("not charged: {other:?}"),
    });
    assert_eq!(given.collect::<Vec<_>>(), [10, 10, 5]);
    let again = books.charge(&minutes).await.expect("replayed");
    assert_eq!(again, charged);
    assert_eq!(load_coins(books).await, (295, 0));
    books.assert_consistent().await;
}

#[tokio::test]
async fn given_coins_pay_first_and_earn_the_listener_nothing() {
    let books = books_with_gift(false).await;
    charge_three(&books).await;
    let settled = books.settle(&settlement(3)).await.expect("settled");
    // Two minutes and a half were given; the half that was bought brings half of the rate.
    assert_eq!((settled.coins_spent, settled.listener_paise), (30, 50));
    assert_eq!(
        books.settle(&settlement(3)).await.expect("again"),
        settled,
        "the first answer"
    );
    assert_eq!(load_earned(&books).await, 50);
    let (bought, given): (i64, i64) = sqlx::query_as(
        "SELECT COALESCE(sum(amount) FILTER (WHERE debit_account = 'user/1'), 0)::bigint,
                COALESCE(sum(amount) FILTER (WHERE debit_account = 'user/1/bonus'), 0)::bigint
         FROM wallet.journal WHERE transfer_id = 'call/7/minute/3'",
    )
    .fetch_one(&books.database.app_pool)
    .await
    .expect("readable");
    assert_eq!((bought, given), (5, 5), "a minute that both paid");
    let line: String = sqlx::query_scalar(
        "SELECT description FROM wallet.user_transactions WHERE tx_type = 'earn'",
    )
    .fetch_one(&books.database.app_pool)
    .await
    .expect("a line");
    assert_eq!(line, "3 minutes of call 7, paid with 25 bonus coins of 30");
    books.assert_consistent().await;
}

#[tokio::test]
async fn the_operator_may_pay_listeners_for_given_coins() {
    let books = books_with_gift(true).await;
    charge_three(&books).await;
    let settled = books.settle(&settlement(3)).await.expect("settled");
    assert_eq!((settled.coins_spent, settled.listener_paise), (30, 300));
    assert_eq!(load_earned(&books).await, 300);
    books.assert_consistent().await;
}

#[tokio::test]
async fn coins_return_to_where_they_came_from() {
    let books = books_with_gift(false).await;
    charge_three(&books).await;
    // A replay takes nothing more, and so does a void that is repeated.
    books.charge(&[minute(3)]).await.expect("charged before");
    for _ in 0..2 {
        let returned = books.ledger.void_charge(7, 3, CALLER).await;
        assert_eq!(returned.expect("undone"), 10);
        assert_eq!(load_coins(&books).await, (305, 5));
    }
    books.assert_consistent().await;
    // The second minute goes back although it is settled, and was paid with given coins alone.
    let returning = CallSettlement {
        returned_minutes: vec![2],
        unearned_minutes: vec![2],
        ..settlement(2)
    };
    let settled = books.settle(&returning).await.expect("settled");
    assert_eq!((settled.coins_spent, settled.listener_paise), (10, 0));
    assert_eq!(load_coins(&books).await, (315, 15));
    books.assert_consistent().await;
}

/// Books in which the caller has bought 300 coins and was given 25, of which 275 are left after five minutes, and was then
/// given 40 more.
async fn ordered_with_gift() -> (TestBooks, serde_json::Value) {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    prove(&books, &proof(&order_id, &payment))
        .await
        .expect("paid");
    books.give(CALLER, 25, "gift").await;
    let minutes: Vec<_> = (1..=5).map(minute).collect();
    books.charge(&minutes).await.expect("charged");
    books.settle(&settlement(5)).await.expect("settled");
    assert_eq!(load_coins(&books).await, (275, 0));
    assert_eq!(load_earned(&books).await, 250);
    books.give(CALLER, 40, "later").await;
    (books, payment)
}

#[tokio::test]
async fn a_chargeback_takes_bought_coins_only() {
    let (books, payment) = ordered_with_gift().await;
    let lost = charged_back(&payment, "disp_1", 15_000);
    notify(&books, &lost, "event_1").await.expect("received");
    assert_eq!(load_coins(&books).await, (40, 40), "the gift stays");
    assert_eq!(load_account_coins(&books, "user/1/debt").await, -25);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_dispute_holds_bought_coins_and_what_they_have_earned() {
    let (books, payment) = ordered_with_gift().await;
    let opened = disputed(&payment, "created", 15_000);
    notify(&books, &opened, "event_1").await.expect("received");
    assert_eq!(load_coins(&books).await, (40, 40));
    assert_eq!(load_account_coins(&books, "platform/disputed").await, 275);
    let balance = books.ledger.load_balance(LISTENER).await;
    // The other 25 coins of the order have paid for a half of the call, which brought all of its money.
    assert_eq!(balance.expect("readable").held_paise, 250);
    books.assert_consistent().await;
    let won = disputed(&payment, "won", 15_000);
    notify(&books, &won, "event_2").await.expect("received");
    assert_eq!(load_coins(&books).await, (315, 40));
    books.assert_consistent().await;
}

#[tokio::test]
async fn given_coins_of_a_deleted_account_pay_no_chargeback() {
    let (books, payment) = ordered_with_gift().await;
    let mut tx = books.database.app.begin().await.expect("connected");
    close_account(&mut tx, CALLER, &[], books.clock.now())
        .await
        .expect("closed");
    tx.commit().await.expect("committed");
    assert_eq!(load_account_coins(&books, "user/1/bonus").await, 0);
    assert_eq!(load_account_coins(&books, "platform/forfeited").await, 275);
    books.assert_consistent().await;
    let lost = charged_back(&payment, "disp_1", 15_000);
    notify(&books, &lost, "event_1").await.expect("received");
    assert_eq!(load_account_coins(&books, "platform/forfeited").await, 0);
    assert_eq!(load_account_coins(&books, "user/1/debt").await, -25);
    books.assert_consistent().await;
}

#[tokio::test]
async fn bonus_coins_that_the_journal_does_not_explain_are_detected() {
    let books = books_with_gift(false).await;
    let found = books
        .tamper("UPDATE wallet.user_wallets SET bonus_coins = 24")
        .await;
    assert_eq!(
        found,
        ["the wallet of user 1 is not what the journal adds up to"]
    );
    let books = books_with_gift(false).await;
    let found = books
        .tamper("UPDATE wallet.transfers SET bonus_coins = 24 WHERE kind = 'bonus'")
        .await;
    assert_eq!(
        found,
        ["the journal of transfer bonus/gift does not move what it says"]
    );
}
