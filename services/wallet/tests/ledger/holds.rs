//! Earnings that cannot be withdrawn yet, and disputes about the payments behind them.

use chrono::TimeDelta;
use serde_json::{Value, json};
use talktime_kit::Error;
use talktime_kit::paging::ListPageRequest;
use talktime_wallet::domain::charging::MinuteCharge;
use talktime_wallet::domain::history::TransactionHistoryFilter;
use talktime_wallet::domain::settlement::CallSettlement;
use talktime_wallet::ledger::{WalletTerms, WithdrawalRequest, close_account};
use talktime_wallet::provider::PaymentProvider;

use crate::bank::details;
use crate::books::{CALL, CALLER, LISTENER, TestBooks, minute, settlement, terms};
use crate::payments::{charged_back, notify, ordered, ordered_and_spent, proof, prove, refunded};
use crate::razorpay::{SignedMessage, StandIn};

async fn add_bank_account(books: &TestBooks) {
    let account = details("123456789");
    let kept = books.ledger.set_bank_details(LISTENER, &account).await;
    kept.expect("kept");
}

async fn withdraw(books: &TestBooks, amount_paise: i64) -> Result<(), String> {
    let request = WithdrawalRequest {
        user_id: LISTENER,
        amount_paise,
        idempotency: None,
    };
    let requested = books.ledger.request_withdrawal(&request).await;
    requested
        .map(|_| ())
        .map_err(|error| Error::from(error).code().to_owned())
}

/// Money that belongs to the listener, and the part of it that is held, in paise.
async fn load_money(books: &TestBooks) -> (i64, i64) {
    let balance = books.ledger.load_balance(LISTENER).await.expect("readable");
    (balance.withdrawable_paise, balance.held_paise)
}

#[tokio::test]
async fn young_earnings_cannot_be_withdrawn() {
    let mut holding: WalletTerms = terms();
    holding.withdrawals.earnings_hold = TimeDelta::hours(48);
    let books = TestBooks::with_provider(holding, PaymentProvider::Sandbox).await;
    add_bank_account(&books).await;
    books.earn(1, 30).await;
    books.clock.advance(TimeDelta::hours(24));
    books.earn(2, 20).await;
    assert_eq!(load_money(&books).await, (5_000, 5_000));
    assert_eq!(
        withdraw(&books, 1).await.expect_err("young"),
        "earnings_held"
    );
    let too_much = withdraw(&books, 5_001).await.expect_err("not there");
    assert_eq!(too_much, "insufficient_money");

    books.clock.advance(TimeDelta::hours(24));
    assert_eq!(load_money(&books).await, (5_000, 2_000));
    let young = withdraw(&books, 3_001).await.expect_err("young");
    assert_eq!(young, "earnings_held");
    withdraw(&books, 3_000).await.expect("old enough");
    assert_eq!(load_money(&books).await, (2_000, 2_000));
    books.clock.advance(TimeDelta::hours(24));
    withdraw(&books, 2_000).await.expect("old enough");
    books.assert_consistent().await;
}

/// A report about a dispute of a payment.
pub(crate) fn disputed(payment: &Value, event: &str, amount_paise: i64) -> SignedMessage {
    let dispute = json!({"id": "disp_1", "entity": "dispute", "amount": amount_paise,
        "payment_id": payment["id"], "status": event});
    let event = format!("payment.dispute.{event}");
    StandIn::message(&event, payment, &json!({"dispute": dispute}))
}

async fn report(books: &TestBooks, message: &SignedMessage, event_id: &str) {
    notify(books, message, event_id).await.expect("received");
    books.assert_consistent().await;
}

async fn load_debt(books: &TestBooks) -> i64 {
    sqlx::query_scalar("SELECT debt_coins FROM wallet.user_wallets WHERE user_id = 1")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("a wallet")
}

/// The books of [`ordered_and_spent`], whose 25 minutes have earned the listener 25 rupees.
async fn ordered_and_settled() -> (TestBooks, Value) {
    let (books, _stand_in, payment) = ordered_and_spent().await;
    books.settle(&settlement(25)).await.expect("settled");
    add_bank_account(&books).await;
    assert_eq!(books.load_coins(CALLER).await, 50);
    assert_eq!(load_money(&books).await, (2_500, 0));
    (books, payment)
}

#[tokio::test]
async fn a_dispute_freezes_the_coins_that_are_left_and_the_earnings_made_from_the_others() {
    let (books, payment) = ordered_and_settled().await;
    let opened = disputed(&payment, "created", 15_000);
    for event_id in ["event_1", "event_2"] {
        report(&books, &opened, event_id).await;
        assert_eq!(books.load_coins(CALLER).await, 0);
        assert_eq!(load_money(&books).await, (2_500, 2_500));
    }
    assert_eq!(
        withdraw(&books, 1).await.expect_err("disputed"),
        "earnings_held"
    );
    let of_another_call = MinuteCharge {
        call_id: CALL + 1,
        ..minute(1)
    };
    let charged = books.charge(&[of_another_call]).await.expect("answered");
    assert!(
        format!("{charged:?}").contains("Insufficient"),
        "{charged:?}"
    );

    for (event, event_id) in [
        ("won", "event_3"),
        ("won", "event_4"),
        ("created", "event_5"),
    ] {
        report(&books, &disputed(&payment, event, 15_000), event_id).await;
        assert_eq!(books.load_coins(CALLER).await, 50, "{event}");
        assert_eq!(load_money(&books).await, (2_500, 0), "{event}");
    }
    assert_eq!(books.ledger.take_lost_earnings().await.expect("done"), 0);
    withdraw(&books, 2_500).await.expect("released");
}

#[tokio::test]
async fn a_dispute_about_a_part_freezes_that_part() {
    let (books, payment) = ordered_and_settled().await;
    // A fifth of the payment, which is 60 coins: 50 are left, and 10 paid for a minute.
    report(&books, &disputed(&payment, "created", 3_000), "event_1").await;
    assert_eq!(books.load_coins(CALLER).await, 0);
    assert_eq!(load_money(&books).await, (2_500, 100));
    withdraw(&books, 2_400).await.expect("not disputed");
    report(&books, &disputed(&payment, "closed", 3_000), "event_2").await;
    assert_eq!(books.load_coins(CALLER).await, 50);
    assert_eq!(load_money(&books).await, (100, 0));
}

#[tokio::test]
async fn coins_that_a_deleted_buyer_left_behind_spare_earnings() {
    let (books, payment) = ordered_and_settled().await;
    let mut tx = books.database.app.begin().await.expect("connected");
    let closed = close_account(&mut tx, CALLER, &[], books.clock.now()).await;
    closed.expect("closed");
    tx.commit().await.expect("committed");
    // 60 coins, of which 50 were left behind.
    report(&books, &disputed(&payment, "created", 3_000), "event_1").await;
    assert_eq!(load_money(&books).await, (2_500, 100));
}

#[tokio::test]
async fn a_lost_dispute_takes_what_it_has_frozen() {
    let (books, payment) = ordered_and_settled().await;
    report(&books, &disputed(&payment, "created", 15_000), "event_1").await;
    report(&books, &charged_back(&payment, "disp_1", 15_000), "event_2").await;
    assert_eq!(books.load_coins(CALLER).await, 0);
    assert_eq!(
        load_money(&books).await,
        (2_500, 2_500),
        "held until it is taken"
    );
    assert_eq!(books.ledger.take_lost_earnings().await.expect("taken"), 1);
    assert_eq!(books.ledger.take_lost_earnings().await.expect("done"), 0);
    assert_eq!(load_money(&books).await, (0, 0));
    books.assert_consistent().await;
    assert_eq!(load_debt(&books).await, 250, "what was spent");
    let page = ListPageRequest::new(1, 20).expect("in range");
    let statement = books
        .ledger
        .load_statement(LISTENER, TransactionHistoryFilter::All, page)
        .await
        .expect("readable");
    assert_eq!(statement.found.total, 2);
    let totals = statement.totals;
    assert_eq!((totals.paise_spent, totals.paise_earned), (0, 2_500));
}

#[tokio::test]
async fn released_coins_pay_for_a_refund_that_could_not_take_them() {
    for (event, event_id) in [("closed", "event_3"), ("won", "event_4")] {
        let (books, payment) = ordered_and_settled().await;
        report(&books, &disputed(&payment, "created", 15_000), "event_1").await;
        report(&books, &refunded(&payment, "rfnd_1", 15_000), "event_2").await;
        assert_eq!(load_debt(&books).await, 300);
        report(&books, &disputed(&payment, event, 15_000), event_id).await;
        assert_eq!(books.load_coins(CALLER).await, 0, "{event}");
        assert_eq!(load_debt(&books).await, 250, "{event}");
    }
}

#[tokio::test]
async fn a_second_dispute_claims_other_earnings_than_one_that_was_lost() {
    const NEWER_CALL: i64 = 8;
    let (books, stand_in, first) = ordered_and_spent().await;
    books.settle(&settlement(25)).await.expect("settled");
    books.clock.advance(TimeDelta::hours(1));
    let order = books.ledger.open_order(CALLER, 15_000, "second").await;
    let order_id = order.expect("opened").order_id;
    let second = stand_in.pay(&order_id);
    let paid = prove(&books, &proof(&order_id, &second)).await;
    paid.expect("paid");
    let minutes: Vec<_> = (1..=30)
        .map(|number| MinuteCharge {
            call_id: NEWER_CALL,
            ..minute(number)
        })
        .collect();
    books.charge(&minutes).await.expect("charged");
    let newer = CallSettlement {
        call_id: NEWER_CALL,
        ..settlement(30)
    };
    books.settle(&newer).await.expect("settled");
    assert_eq!(load_money(&books).await, (5_500, 0));

    // 50 coins are left, and 250 have paid for the newer call.
    report(&books, &disputed(&second, "created", 15_000), "event_1").await;
    report(&books, &charged_back(&second, "disp_1", 15_000), "event_2").await;
    assert_eq!(books.ledger.take_lost_earnings().await.expect("taken"), 1);
    assert_eq!(load_money(&books).await, (3_000, 0));

    report(&books, &disputed(&first, "created", 15_000), "event_3").await;
    let held: Vec<(i64, i64)> =
        sqlx::query_as("SELECT call_id, paise FROM wallet.disputed_earnings ORDER BY call_id")
            .fetch_all(&books.database.app_pool)
            .await
            .expect("readable");
    assert_eq!(held, [(CALL, 2_500), (NEWER_CALL, 500)]);
}

#[tokio::test]
async fn what_was_withdrawn_before_a_dispute_is_not_taken() {
    let (books, payment) = ordered_and_settled().await;
    withdraw(&books, 2_000).await.expect("before");
    report(&books, &disputed(&payment, "created", 15_000), "event_1").await;
    assert_eq!(load_money(&books).await, (500, 500));
    report(&books, &charged_back(&payment, "disp_1", 15_000), "event_2").await;
    books.ledger.take_lost_earnings().await.expect("taken");
    assert_eq!(load_money(&books).await, (0, 0));
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_dispute_that_was_lost_before_it_was_opened_freezes_nothing() {
    let (books, payment) = ordered_and_settled().await;
    report(&books, &charged_back(&payment, "disp_1", 15_000), "event_1").await;
    report(&books, &disputed(&payment, "created", 15_000), "event_2").await;
    assert_eq!(books.load_coins(CALLER).await, 0);
    assert_eq!(load_money(&books).await, (2_500, 0));
}

#[tokio::test]
async fn a_dispute_about_a_payment_that_brought_nothing_freezes_nothing() {
    let (books, stand_in, order_id) = ordered().await;
    let paid = stand_in.pay(&order_id);
    prove(&books, &proof(&order_id, &paid)).await.expect("paid");
    let surplus = stand_in.pay(&order_id);
    report(&books, &disputed(&surplus, "created", 15_000), "event_1").await;
    assert_eq!(books.load_coins(CALLER).await, 300);
}

#[tokio::test]
async fn disputed_coins_that_nobody_accounts_for_are_detected() {
    let (books, payment) = ordered_and_settled().await;
    report(&books, &disputed(&payment, "created", 15_000), "event_1").await;
    let found = books
        .tamper("UPDATE wallet.payment_disputes SET frozen_coins = 49")
        .await;
    assert_eq!(
        found,
        ["the coins that are set aside are not those of the open disputes"]
    );
}
