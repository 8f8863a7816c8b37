//! Rupees on their way out: held at once, paid once, never more than there is.

use chrono::TimeDelta;
use futures::future::join_all;
use talktime_kit::Error;
use talktime_kit::paging::ListPageRequest;
use talktime_wallet::domain::withdrawal::{WithdrawalDecision, WithdrawalStatus};
use talktime_wallet::ledger::{PayoutBatch, WalletLedger, WalletTerms, WithdrawalRequest};
use talktime_wallet::provider::PaymentProvider;

use crate::bank::details;
use crate::books::{ADMIN, LISTENER, TestBooks, terms};

const OTHER_ADMIN: i64 = 91;

fn withdrawal_request(amount_paise: i64) -> WithdrawalRequest {
    WithdrawalRequest {
        user_id: LISTENER,
        amount_paise,
        idempotency: None,
    }
}

/// A listener with so many rupees and a bank account.
async fn books_with_rupees(rupees: i32) -> TestBooks {
    add_bank_account(TestBooks::new().await, rupees).await
}

async fn add_bank_account(books: TestBooks, rupees: i32) -> TestBooks {
    books.earn(1, rupees).await;
    set_account(&books, "123456789").await;
    books
}

async fn set_account(books: &TestBooks, account_number: &str) {
    let account = details(account_number);
    let kept = books.ledger.set_bank_details(LISTENER, &account).await;
    kept.expect("kept");
}

async fn decide(
    ledger: &WalletLedger,
    id: i64,
    admin_id: i64,
    status: WithdrawalStatus,
) -> Result<String, String> {
    let decision = WithdrawalDecision {
        admin_id,
        status,
        notes: None,
    };
    let decided = ledger.decide_withdrawal(id, &decision).await;
    decided
        .map(|reviewed| reviewed.withdrawal.status)
        .map_err(|error| Error::from(error).code().to_owned())
}

/// Withdrawable, pending and withdrawn, in paise.
async fn load_money(books: &TestBooks) -> (i64, i64, i64) {
    let balance = books.ledger.load_balance(LISTENER).await.expect("readable");
    (
        balance.withdrawable_paise,
        balance.pending_withdrawals_paise,
        balance.total_withdrawn_paise,
    )
}

#[tokio::test]
async fn one_of_twenty_concurrent_withdrawals_of_the_whole_balance_is_accepted() {
    let books = books_with_rupees(50).await;
    let everything = withdrawal_request(5_000);
    let outcomes = join_all((0..20).map(|_| books.ledger.request_withdrawal(&everything))).await;
    let (won, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for refused in lost {
        let error = Error::from(refused.expect_err("refused"));
        assert_eq!(error.code(), "insufficient_money");
    }
    assert_eq!(load_money(&books).await, (0, 5_000, 0));
    assert_eq!(
        books.count_events("events.wallet.withdrawal_updated").await,
        1
    );
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_withdrawal_is_paid_once() {
    let books = books_with_rupees(50).await;
    let held = books
        .ledger
        .request_withdrawal(&withdrawal_request(4_999))
        .await
        .expect("held");
    let id = held.withdrawal_id;
    let processing = decide(&books.ledger, id, ADMIN, WithdrawalStatus::Processing).await;
    assert_eq!(processing.as_deref(), Ok("processing"));
    let paid = (0..10).map(|_| decide(&books.ledger, id, OTHER_ADMIN, WithdrawalStatus::Paid));
    for paid in join_all(paid).await {
        assert_eq!(paid.as_deref(), Ok("paid"));
    }
    assert_eq!(load_money(&books).await, (1, 0, 4_999));
    let late = decide(&books.ledger, id, ADMIN, WithdrawalStatus::Rejected).await;
    assert_eq!(late.expect_err("decided"), "withdrawal_decided");
    assert_eq!(
        books.count_events("events.wallet.withdrawal_updated").await,
        3
    );
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_rejected_withdrawal_comes_back_once() {
    let books = books_with_rupees(50).await;
    let held = books
        .ledger
        .request_withdrawal(&withdrawal_request(5_000))
        .await
        .expect("held");
    for _ in 0..2 {
        let rejected = decide(
            &books.ledger,
            held.withdrawal_id,
            ADMIN,
            WithdrawalStatus::Rejected,
        )
        .await;
        assert_eq!(rejected.as_deref(), Ok("rejected"));
    }
    assert_eq!(load_money(&books).await, (5_000, 0, 0));
    books
        .ledger
        .request_withdrawal(&withdrawal_request(5_000))
        .await
        .expect("again");
    books.assert_consistent().await;
}

#[tokio::test]
async fn one_of_a_concurrent_payout_and_rejection_is_applied() {
    let books = books_with_rupees(50).await;
    for _ in 0..5 {
        let held = books
            .ledger
            .request_withdrawal(&withdrawal_request(1_000))
            .await
            .expect("held");
        let (paid, rejected) = tokio::join!(
            decide(
                &books.ledger,
                held.withdrawal_id,
                ADMIN,
                WithdrawalStatus::Paid
            ),
            decide(
                &books.ledger,
                held.withdrawal_id,
                OTHER_ADMIN,
                WithdrawalStatus::Rejected
            )
        );
        assert!(paid.is_ok() != rejected.is_ok(), "{paid:?} {rejected:?}");
    }
    let (_, pending, _) = load_money(&books).await;
    assert_eq!(pending, 0);
    books.assert_consistent().await;
}

#[tokio::test]
async fn two_admins_agree_to_a_large_sum() {
    let books = books_with_rupees(101).await;
    let held = books
        .ledger
        .request_withdrawal(&withdrawal_request(10_001))
        .await
        .expect("held");
    let id = held.withdrawal_id;
    for status in [
        WithdrawalStatus::Processing,
        WithdrawalStatus::Paid,
        WithdrawalStatus::Paid,
    ] {
        let alone = decide(&books.ledger, id, ADMIN, status).await;
        assert_eq!(alone.as_deref(), Ok("pending"), "one admin, however often");
    }
    let page = ListPageRequest::new(1, 20).expect("a page");
    let waiting = books
        .ledger
        .list_for_review(WithdrawalStatus::Pending, page)
        .await;
    let waiting = waiting.expect("readable").entries;
    assert_eq!(waiting[0].withdrawal.agreed, [ADMIN]);
    assert_eq!(waiting[0].admins_needed, 2);
    let both = decide(&books.ledger, id, OTHER_ADMIN, WithdrawalStatus::Paid).await;
    assert_eq!(both.as_deref(), Ok("paid"));
    let decisions: i64 = sqlx::query_scalar("SELECT count(*) FROM wallet.withdrawal_decisions")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("readable");
    assert_eq!(decisions, 3, "who said what is kept");
    books.assert_consistent().await;
}

#[tokio::test]
async fn two_admins_agree_to_sums_that_are_large_within_a_day() {
    let books = books_with_rupees(150).await;
    let request = async |amount_paise| {
        let request = withdrawal_request(amount_paise);
        let held = books.ledger.request_withdrawal(&request).await;
        held.expect("held").withdrawal_id
    };
    let held = [request(5_000).await, request(5_000).await, request(1).await];
    let pay = |id, admin| decide(&books.ledger, id, admin, WithdrawalStatus::Paid);
    for id in &held {
        assert_eq!(pay(*id, ADMIN).await.as_deref(), Ok("pending"));
    }
    let rejected = decide(&books.ledger, held[2], ADMIN, WithdrawalStatus::Rejected).await;
    assert_eq!(rejected.as_deref(), Ok("rejected"));
    assert_eq!(
        pay(held[0], ADMIN).await.as_deref(),
        Ok("paid"),
        "a hundred rupees are left"
    );
    books.clock.advance(TimeDelta::hours(24));
    let next_day = request(5_000).await;
    assert_eq!(pay(next_day, ADMIN).await.as_deref(), Ok("paid"));
    books.assert_consistent().await;
}

#[tokio::test]
async fn other_bank_details_delay_the_payout_and_not_the_request() {
    let books = books_with_rupees(50).await;
    let early = books
        .ledger
        .request_withdrawal(&withdrawal_request(100))
        .await
        .expect("held");
    set_account(&books, "123456789").await;
    let unchanged = books
        .ledger
        .request_withdrawal(&withdrawal_request(100))
        .await
        .expect("held");
    set_account(&books, "987654321").await;
    let late = books
        .ledger
        .request_withdrawal(&withdrawal_request(100))
        .await
        .expect("held");
    for held in [early, unchanged] {
        let paid = decide(
            &books.ledger,
            held.withdrawal_id,
            ADMIN,
            WithdrawalStatus::Paid,
        )
        .await;
        assert_eq!(paid.as_deref(), Ok("paid"));
    }
    let delayed = decide(
        &books.ledger,
        late.withdrawal_id,
        ADMIN,
        WithdrawalStatus::Paid,
    )
    .await;
    assert_eq!(delayed.expect_err("too early"), "payout_delayed");
    books.clock.advance(TimeDelta::hours(24));
    let paid = decide(
        &books.ledger,
        late.withdrawal_id,
        ADMIN,
        WithdrawalStatus::Paid,
    )
    .await;
    assert_eq!(paid.as_deref(), Ok("paid"));
    books.assert_consistent().await;
}

#[tokio::test]
async fn first_bank_details_delay_the_payout_where_that_is_configured() {
    let mut careful: WalletTerms = terms();
    careful.withdrawals.delays_first_bank_details = true;
    let books = add_bank_account(
        TestBooks::with_provider(careful, PaymentProvider::Sandbox).await,
        50,
    )
    .await;
    let held = books
        .ledger
        .request_withdrawal(&withdrawal_request(100))
        .await
        .expect("held");
    let pay = || {
        decide(
            &books.ledger,
            held.withdrawal_id,
            ADMIN,
            WithdrawalStatus::Paid,
        )
    };
    assert_eq!(pay().await.expect_err("too early"), "payout_delayed");
    books.clock.advance(TimeDelta::hours(24));
    assert_eq!(pay().await.as_deref(), Ok("paid"));
    books.assert_consistent().await;
}

#[tokio::test]
async fn configured_limits_are_enforced() {
    let mut limited: WalletTerms = terms();
    limited.withdrawals.minimum_paise = 1_000;
    limited.withdrawals.daily_paise = Some(3_000);
    let books = add_bank_account(
        TestBooks::with_provider(limited, PaymentProvider::Sandbox).await,
        50,
    )
    .await;
    let code = async |amount_paise| {
        let withdrawal = books
            .ledger
            .request_withdrawal(&withdrawal_request(amount_paise))
            .await;
        withdrawal.map_err(|error| Error::from(error).code().to_owned())
    };
    assert_eq!(code(999).await.expect_err("little"), "below_minimum");
    code(2_000).await.expect("allowed");
    assert_eq!(code(1_001).await.expect_err("much"), "above_daily_limit");
    code(1_000).await.expect("allowed");
    books.clock.advance(TimeDelta::hours(24));
    code(1_000).await.expect("another day");
}

#[tokio::test]
async fn without_bank_details_nothing_is_held() {
    let books = TestBooks::new().await;
    books.earn(1, 5).await;
    let refused = books
        .ledger
        .request_withdrawal(&withdrawal_request(100))
        .await
        .expect_err("where to?");
    assert_eq!(Error::from(refused).code(), "no_bank_details");
    assert_eq!(load_money(&books).await, (500, 0, 0));
}

#[tokio::test]
async fn withdrawals_in_processing_are_exported() {
    let books = books_with_rupees(50).await;
    let first = books
        .ledger
        .request_withdrawal(&withdrawal_request(1_050))
        .await
        .expect("held");
    books
        .ledger
        .request_withdrawal(&withdrawal_request(100))
        .await
        .expect("held");
    let id = first.withdrawal_id;
    decide(&books.ledger, id, ADMIN, WithdrawalStatus::Processing)
        .await
        .expect("decided");
    let batch = books.ledger.export_payouts("Asha").await.expect("exported");
    let batch = batch.expect("a batch");
    assert_eq!(batch.payouts.len(), 1);
    let payout = &batch.payouts[0];
    assert_eq!((payout.withdrawal_id, payout.amount_paise), (id, 1_050));
    assert_eq!(payout.details, details("123456789"));
}

#[tokio::test]
async fn a_withdrawal_is_in_one_batch_which_can_be_printed_again() {
    let books = books_with_rupees(90).await;
    let process = async |amount_paise| {
        let request = withdrawal_request(amount_paise);
        let held = books.ledger.request_withdrawal(&request).await;
        let id = held.expect("held").withdrawal_id;
        let decided = decide(&books.ledger, id, ADMIN, WithdrawalStatus::Processing).await;
        assert_eq!(decided.as_deref(), Ok("processing"));
        id
    };
    let first = [process(1_000).await, process(2_000).await];
    let exports = join_all((0..4).map(|_| books.ledger.export_payouts("Asha"))).await;
    let batches = exports
        .into_iter()
        .filter_map(|batch| batch.expect("exported"));
    let batches: Vec<PayoutBatch> = batches.collect();
    assert_eq!(batches.len(), 1, "four exports at once make one batch");
    let list_ids = |batch: &PayoutBatch| -> Vec<i64> {
        let payouts = batch.payouts.iter();
        payouts.map(|payout| payout.withdrawal_id).collect()
    };
    assert_eq!(list_ids(&batches[0]), first);

    let second = process(3_000).await;
    let next = books.ledger.export_payouts("Ravi").await.expect("exported");
    assert_eq!(list_ids(&next.expect("a batch")), [second]);
    let last = books.ledger.find_last_batch().await.expect("readable");
    assert_eq!(last.expect("a batch").exported_by, "Ravi");
    let paid = decide(&books.ledger, first[0], ADMIN, WithdrawalStatus::Paid).await;
    assert_eq!(paid.as_deref(), Ok("paid"));
    let again = books.ledger.load_batch(batches[0].batch_id).await;
    assert_eq!(list_ids(&again.expect("readable")), [first[1]]);
    books.assert_consistent().await;
}

#[tokio::test]
async fn changed_sums_and_withdrawals_are_detected() {
    let books = books_with_rupees(50).await;
    books
        .ledger
        .request_withdrawal(&withdrawal_request(1_000))
        .await
        .expect("held");
    let found = books
        .tamper("UPDATE wallet.user_withdrawals SET amount = 11")
        .await;
    assert_eq!(
        found,
        [
            "the withdrawals of user 2 do not add up to the wallet",
            "what is held for payouts is not what the withdrawals in progress come to",
            "withdrawal 1 is in progress and its sum is not held"
        ]
    );
    let found = books
        .tamper("UPDATE wallet.user_withdrawals SET amount = 10, status = 'rejected'")
        .await;
    assert!(
        found.contains(
            &"transfer withdrawal/1 holds rupees for a payout that nobody can decide".to_owned()
        ),
        "{found:?}"
    );
}
