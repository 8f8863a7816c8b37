//! Deleted accounts: reversals of their payments are booked, debts stay owed, and payouts in
//! progress are not lost.

use talktime_kit::Error;
use talktime_wallet::domain::history::TransactionType;
use talktime_wallet::domain::withdrawal::{WithdrawalDecision, WithdrawalStatus};
use talktime_wallet::ledger::{CoinBonusGrant, WithdrawalRequest, close_account};

use crate::bank::details;
use crate::books::{CALLER, LISTENER, TestBooks};
use crate::payments::{charged_back, notify, ordered, ordered_and_spent, proof, prove, refunded};

const ADMIN: i64 = 90;

async fn close(books: &TestBooks, user_id: i64) {
    let mut tx = books.database.app.begin().await.expect("connected");
    close_account(&mut tx, user_id, books.clock.now())
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
    let mut balances = Vec::new();
    for (fresh_id, coins) in [("small", 100), ("large", 200)] {
        let bonus = CoinBonusGrant {
            user_id: CALLER,
            admin_id: ADMIN,
            tx_type: TransactionType::Bonus,
            coins,
            fresh_id: fresh_id.to_owned(),
            idempotency: None,
        };
        let given = books.ledger.give_bonus(&bonus).await.expect("given");
        balances.push((given.coins_added, given.balance_coins));
    }
    assert_eq!(balances, [(100, 0), (200, 50)]);
    assert_eq!(books.load_coins(CALLER).await, 50);
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
