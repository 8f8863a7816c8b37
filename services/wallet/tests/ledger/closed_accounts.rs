//! Deleted accounts: reversals of their payments are booked, debts stay owed, and payouts in
//! progress are not lost.

use chrono::TimeDelta;
use serde_json::json;
use talktime_kit::Error;
use talktime_wallet::domain::withdrawal::{WithdrawalDecision, WithdrawalStatus};
use talktime_wallet::ledger::{WithdrawalRequest, close_account, transfer_debts};
use talktime_wallet::store::wallets;

use crate::bank::details;
use crate::books::{ADMIN, CALLER, LISTENER, TestBooks};
use crate::payments::{charged_back, notify, ordered, ordered_and_spent, proof, prove, refunded};
use crate::razorpay::StandIn;

async fn close(books: &TestBooks, user_id: i64) {
    close_with_phone(books, user_id, &[]).await;
}

async fn close_with_phone(books: &TestBooks, user_id: i64, phone_hash: &[u8]) {
    let mut tx = books.database.app.begin().await.expect("connected");
    close_account(&mut tx, user_id, phone_hash, books.clock.now())
        .await
        .expect("closed");
    tx.commit().await.expect("committed");
}

async fn closed_debt(books: &TestBooks) -> i64 {
    sqlx::query_scalar("SELECT debt_coins FROM wallet.closed_wallets WHERE owner_id = 1")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("closed")
}

#[tokio::test]
async fn a_chargeback_after_the_deletion_is_booked_as_what_the_person_owes() {
    let (books, _stand_in, payment) = ordered_and_spent().await;
    notify(&books, &refunded(&payment, "rfnd_1", 1_500), "event_1")
        .await
        .expect("received");
    close(&books, CALLER).await;
    books.assert_consistent().await;
    let lost = charged_back(&payment, "disp_1", 13_500);
    for event_id in ["event_2", "event_3"] {
        notify(&books, &lost, event_id).await.expect("received");
    }
    // 20 coins were left behind; 250 were spent on minutes.
    assert_eq!(closed_debt(&books).await, 250);
    let (sales,): (i64,) = sqlx::query_as(
        "SELECT sum(CASE WHEN credit_account = 'platform/coin_sales' THEN amount ELSE -amount END)
                ::bigint FROM wallet.journal
         WHERE 'platform/coin_sales' IN (credit_account, debit_account)",
    )
    .fetch_one(&books.database.app_pool)
    .await
    .expect("readable");
    assert_eq!(sales, 0, "no money is left of it");
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_debt_outlives_the_account() {
    let (books, _stand_in, payment) = ordered_and_spent().await;
    notify(&books, &charged_back(&payment, "disp_1", 15_000), "event_1")
        .await
        .expect("received");
    close(&books, CALLER).await;
    assert_eq!(closed_debt(&books).await, 250);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_payment_for_a_deleted_account_is_not_credited() {
    let (books, stand_in, order_id) = ordered().await;
    let payment = stand_in.pay(&order_id);
    close(&books, CALLER).await;
    let refused = prove(&books, &proof(&order_id, &payment)).await;
    assert_eq!(refused.expect_err("gone"), "payment_not_found");
    notify(&books, &crate::payments::captured(&payment), "event_1")
        .await
        .expect("received");
    assert_eq!(books.load_coins(CALLER).await, 0);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_bonus_pays_a_debt_first() {
    let (books, _stand_in, payment) = ordered_and_spent().await;
    notify(&books, &charged_back(&payment, "disp_1", 15_000), "event_1")
        .await
        .expect("received");
    assert_eq!(books.give(CALLER, 100, "small").await, 0);
    assert_eq!(books.give(CALLER, 200, "large").await, 50);
    let balance = books.ledger.load_balance(CALLER).await.expect("readable");
    assert_eq!((balance.balance_coins, balance.bonus_coins), (50, 50));
    books.assert_consistent().await;
}

async fn decide(
    books: &TestBooks,
    withdrawal_id: i64,
    status: WithdrawalStatus,
) -> Result<String, String> {
    let decision = WithdrawalDecision {
        admin_id: ADMIN,
        status,
        notes: None,
    };
    let decided = books
        .ledger
        .decide_withdrawal(withdrawal_id, &decision)
        .await;
    decided
        .map(|reviewed| reviewed.withdrawal.status)
        .map_err(|error| Error::from(error).code().to_owned())
}

async fn load_account_paise(books: &TestBooks, account: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT COALESCE(sum(CASE WHEN credit_account = $1 THEN amount ELSE -amount END), 0)::bigint
         FROM wallet.journal
         WHERE ledger = 'paise' AND $1 IN (credit_account, debit_account)",
    )
    .bind(account)
    .fetch_one(&books.database.app_pool)
    .await
    .expect("readable")
}

#[tokio::test]
async fn payouts_in_progress_outlive_the_account_until_they_are_decided() {
    let books = TestBooks::new().await;
    books.earn(1, 60).await;
    let account = details("123456789");
    let kept = books.ledger.set_bank_details(LISTENER, &account).await;
    kept.expect("kept");
    let mut ids = Vec::new();
    for amount_paise in [3_000, 2_000, 500] {
        let request = WithdrawalRequest {
            user_id: LISTENER,
            amount_paise,
            idempotency: None,
        };
        let held = books
            .ledger
            .request_withdrawal(&request)
            .await
            .expect("held");
        ids.push(held.withdrawal_id);
    }
    assert_eq!(
        decide(&books, ids[2], WithdrawalStatus::Paid)
            .await
            .as_deref(),
        Ok("paid")
    );
    decide(&books, ids[0], WithdrawalStatus::Processing)
        .await
        .expect("decided");
    close(&books, LISTENER).await;
    books.assert_consistent().await;
    assert_eq!(
        load_account_paise(&books, "platform/payouts_pending").await,
        5_000
    );
    assert_eq!(load_account_paise(&books, "platform/forfeited").await, 500);

    let batch = books.ledger.export_payouts("Asha").await.expect("exported");
    let payouts = batch.expect("a batch").payouts;
    assert_eq!(payouts.len(), 1);
    assert_eq!(
        (payouts[0].withdrawal_id, payouts[0].amount_paise),
        (ids[0], 3_000)
    );
    assert_eq!(payouts[0].details, account);
    assert_eq!(
        decide(&books, ids[0], WithdrawalStatus::Paid)
            .await
            .as_deref(),
        Ok("paid")
    );
    let rejected = decide(&books, ids[1], WithdrawalStatus::Rejected).await;
    assert_eq!(rejected.as_deref(), Ok("rejected"));
    assert_eq!(
        load_account_paise(&books, "platform/payouts_pending").await,
        0
    );
    assert_eq!(load_account_paise(&books, "platform/bank").await, 3_500);
    assert_eq!(
        load_account_paise(&books, "platform/forfeited").await,
        2_500
    );
    let (rows,): (i64,) = sqlx::query_as("SELECT count(*) FROM wallet.user_withdrawals")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("readable");
    assert_eq!(rows, 0, "nothing is kept of what is decided");
    books.assert_consistent().await;
}

/// A later account, and the hash of a phone.
const SUCCESSOR: i64 = 3;
const PHONE: [u8; 32] = [7; 32];

/// Registers an account with a phone, as the event does.
async fn register(books: &TestBooks, user_id: i64, phone_hash: &[u8]) {
    let now = books.clock.now();
    let mut tx = books.database.app.begin().await.expect("connected");
    wallets::insert_missing(&mut tx, &[user_id], now)
        .await
        .expect("inserted");
    transfer_debts(&mut tx, user_id, phone_hash, now)
        .await
        .expect("transferred");
    tx.commit().await.expect("committed");
    books.assert_consistent().await;
}

async fn open_debt(books: &TestBooks, user_id: i64) -> i64 {
    sqlx::query_scalar("SELECT debt_coins FROM wallet.user_wallets WHERE user_id = $1")
        .bind(user_id)
        .fetch_one(&books.database.app_pool)
        .await
        .expect("a wallet")
}

#[tokio::test]
async fn a_debt_follows_the_phone_to_the_next_account() {
    let (books, _stand_in, payment) = ordered_and_spent().await;
    notify(&books, &charged_back(&payment, "disp_1", 15_000), "event_1")
        .await
        .expect("received");
    close_with_phone(&books, CALLER, &PHONE).await;
    register(&books, 4, &[8; 32]).await;
    assert_eq!(open_debt(&books, 4).await, 0, "another phone");
    for _ in 0..2 {
        register(&books, SUCCESSOR, &PHONE).await;
        assert_eq!(closed_debt(&books).await, 0);
        assert_eq!(open_debt(&books, SUCCESSOR).await, 250);
    }
    assert_eq!(books.give(SUCCESSOR, 100, "small").await, 0);
    assert_eq!(books.give(SUCCESSOR, 200, "large").await, 50);
    books.assert_consistent().await;

    close_with_phone(&books, SUCCESSOR, &PHONE).await;
    register(&books, 5, &PHONE).await;
    assert_eq!(open_debt(&books, 5).await, 0, "it is paid");
}

#[tokio::test]
async fn a_chargeback_after_the_deletion_reaches_the_account_that_exists_by_then() {
    let (books, _stand_in, payment) = ordered_and_spent().await;
    close_with_phone(&books, CALLER, &PHONE).await;
    register(&books, SUCCESSOR, &PHONE).await;
    assert_eq!(books.give(SUCCESSOR, 40, "gift").await, 40);
    // In two parts: the first one takes what was left behind.
    for (dispute_id, event_id, amount, debt) in [
        ("disp_1", "event_1", 5_000, 50),
        ("disp_2", "event_2", 10_000, 250),
    ] {
        let lost = charged_back(&payment, dispute_id, amount);
        notify(&books, &lost, event_id).await.expect("received");
        books.assert_consistent().await;
        assert_eq!(closed_debt(&books).await, 0);
        assert_eq!(open_debt(&books, SUCCESSOR).await, debt);
    }
    let coins = books.load_coins(SUCCESSOR).await;
    assert_eq!(coins, 40, "only the next coins pay");
    let status: String = sqlx::query_scalar("SELECT status FROM wallet.payment_orders")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("the order is still there");
    assert_eq!(status, "reversed");
}

#[tokio::test]
async fn disputed_coins_of_a_deleted_account_are_left_behind() {
    let (books, _stand_in, payment) = ordered_and_spent().await;
    let dispute = json!({"id": "disp_1", "amount": 15_000, "payment_id": payment["id"]});
    let opened = StandIn::message(
        "payment.dispute.created",
        &payment,
        &json!({"dispute": dispute}),
    );
    notify(&books, &opened, "event_1").await.expect("received");
    assert_eq!(books.load_coins(CALLER).await, 0);
    close(&books, CALLER).await;
    books.assert_consistent().await;
    let lost = charged_back(&payment, "disp_1", 15_000);
    notify(&books, &lost, "event_2").await.expect("received");
    assert_eq!(closed_debt(&books).await, 250);
    books.assert_consistent().await;
}

#[tokio::test]
async fn the_phone_of_a_deleted_account_is_kept_only_while_payments_may_go_back() {
    let (books, _stand_in, _payment) = ordered_and_spent().await;
    close_with_phone(&books, CALLER, &PHONE).await;
    close_with_phone(&books, LISTENER, &PHONE).await;
    let count_phones = || async {
        let count: i64 = sqlx::query_scalar("SELECT count(phone_hash) FROM wallet.closed_wallets")
            .fetch_one(&books.database.app_pool)
            .await
            .expect("readable");
        count
    };
    assert_eq!(count_phones().await, 1, "who never paid has no phone");
    books.clock.advance(TimeDelta::days(180));
    books.ledger.forget_old_phones().await.expect("done");
    assert_eq!(count_phones().await, 1);
    books.clock.advance(TimeDelta::seconds(1));
    books.ledger.forget_old_phones().await.expect("done");
    assert_eq!(count_phones().await, 0);
}
