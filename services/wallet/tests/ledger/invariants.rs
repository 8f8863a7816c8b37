//! A write that misses its row, or an empty column that must have a value, is an internal error: nothing is
//! written, and no default takes the place of the value.

use talktime_kit::Error;
use talktime_kit::error::chain;
use talktime_kit::paging::ListPageRequest;
use talktime_wallet::domain::journal::TransferKind;
use talktime_wallet::domain::posting::{Posting, WalletChange};
use talktime_wallet::ledger::{PaymentProof, RechargeRequest, WithdrawalRequest, close_account};
use talktime_wallet::store::posting;
use talktime_wallet::store::wallets;

use crate::bank::details;
use crate::books::{CALLER, LISTENER, TestBooks, recharge};

fn assert_internal(error: impl Into<Error>, cause: &str) {
    let error = error.into();
    assert_eq!(error.code(), "internal");
    assert!(chain(&error).contains(cause), "{}", chain(&error));
}

#[tokio::test]
async fn a_posting_that_misses_its_wallet_is_an_internal_error() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let mut tx = books.database.app.begin().await.expect("connected");
    let mut locked = wallets::lock(&mut tx, &[CALLER]).await.expect("locked");
    sqlx::query("DELETE FROM wallet.user_wallets WHERE user_id = $1")
        .bind(CALLER)
        .execute(&mut *tx)
        .await
        .expect("deleted");
    let posting = Posting {
        transfer_id: "call/1/minute/1".to_owned(),
        kind: TransferKind::Void,
        content: "a transfer without money".to_owned(),
        call_id: None,
        coins: 0,
        paise: 0,
        balance_coins: 0,
        entries: vec![],
        owner_id: CALLER,
        change: WalletChange::default(),
        line: None,
    };
    let posted = posting::post_all(&mut tx, books.clock.now(), &mut locked, &[posting]).await;
    assert_internal(posted.expect_err("no wallet"), "wallet.user_wallets");
}

#[tokio::test]
async fn a_credited_order_without_its_instant_of_payment_is_an_internal_error() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    books
        .tamper("UPDATE wallet.payment_orders SET paid_at = NULL")
        .await;
    let repeated = RechargeRequest {
        proof: PaymentProof::Sandbox {
            payment_id: "sandbox_a".to_owned(),
        },
        ..recharge("b")
    };
    let purchase = books.ledger.redeem_recharge(&repeated).await;
    assert_internal(
        purchase.expect_err("no instant"),
        "wallet.payment_orders.paid_at",
    );
}

#[tokio::test]
async fn a_withdrawal_without_its_transaction_is_an_internal_error() {
    let books = TestBooks::new().await;
    books.earn(1, 5).await;
    let account = details("123456789");
    let set = books.ledger.set_bank_details(LISTENER, &account).await;
    set.expect("stored");
    let request = WithdrawalRequest {
        user_id: LISTENER,
        amount_paise: 100,
        idempotency: None,
    };
    let held = books.ledger.request_withdrawal(&request).await;
    let held = held.expect("held");
    let page = ListPageRequest::new(1, 20).expect("a page");
    let (listed, _) = books
        .ledger
        .list_withdrawals(LISTENER, page)
        .await
        .expect("listed");
    let transaction_id = listed.entries[0].hold_transaction_id();
    assert_eq!(transaction_id.expect("set"), held.transaction_id);
    books
        .tamper("UPDATE wallet.user_withdrawals SET transaction_id = NULL")
        .await;
    let (listed, _) = books
        .ledger
        .list_withdrawals(LISTENER, page)
        .await
        .expect("listed");
    let transaction_id = listed.entries[0].hold_transaction_id();
    assert_internal(
        transaction_id.expect_err("no transaction"),
        "wallet.user_withdrawals.transaction_id",
    );
}

#[tokio::test]
async fn bank_details_of_a_deleted_account_are_refused() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let mut tx = books.database.app.begin().await.expect("connected");
    close_account(&mut tx, CALLER, &[], books.clock.now())
        .await
        .expect("closed");
    tx.commit().await.expect("committed");
    let account = details("123456789");
    let set = books.ledger.set_bank_details(CALLER, &account);
    let error = Error::from(set.await.expect_err("deleted"));
    assert_eq!(error.code(), "no_such_user");
}
