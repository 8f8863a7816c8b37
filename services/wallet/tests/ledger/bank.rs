//! Bank details are sealed in the store, and sealed again when the key changes.

use talktime_wallet::domain::bank::BankDetails;
use talktime_wallet::ledger::WithdrawalRequest;
use talktime_wallet::ledger::bank::reseal_bank_details;

use crate::books::{LISTENER, TestBooks, sealer};

pub(crate) fn details(account_number: &str) -> BankDetails {
    BankDetails::parse("Devi Rao", account_number, "HDFC0ABC123", Some("HDFC")).expect("right")
}

/// Counts rows that are not sealed by this key.
async fn count_stale(books: &TestBooks, key_id: &str) -> i64 {
    sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM wallet.user_wallets
                 WHERE bank_key_id IS NOT NULL AND bank_key_id <> $1)
              + (SELECT count(*) FROM wallet.user_withdrawals WHERE bank_key_id <> $1)",
    )
    .bind(key_id)
    .fetch_one(&books.database.app_pool)
    .await
    .expect("counted")
}

/// Everything that the store has of bank details, as text.
async fn stored_texts(books: &TestBooks) -> String {
    sqlx::query_scalar(
        "SELECT concat((SELECT string_agg(w::text, ' ') FROM wallet.user_wallets AS w),
                       (SELECT string_agg(w::text, ' ') FROM wallet.user_withdrawals AS w))",
    )
    .fetch_one(&books.database.superuser)
    .await
    .expect("readable")
}

#[tokio::test]
async fn bank_details_are_stored_sealed_and_read_back() {
    let books = TestBooks::new().await;
    assert_eq!(
        books
            .ledger
            .find_bank_details(LISTENER)
            .await
            .expect("none"),
        None
    );
    let kept = details("123456789012");
    books
        .ledger
        .set_bank_details(LISTENER, &kept)
        .await
        .expect("kept");
    let found = books
        .ledger
        .find_bank_details(LISTENER)
        .await
        .expect("readable");
    assert_eq!(found, Some(kept));
    let stored = stored_texts(&books).await;
    for secret in ["123456789012", "HDFC0ABC123", "Devi"] {
        assert!(!stored.contains(secret), "{secret} stands in {stored}");
    }
}

#[tokio::test]
async fn a_new_key_seals_everything_again() {
    // More rows than one transaction of the rotation takes.
    const LISTENERS: i64 = 450;
    let books = TestBooks::new().await;
    for listener in 10..10 + LISTENERS {
        let kept = details(&format!("1234567{listener:05}"));
        let set = books.ledger.set_bank_details(listener, &kept);
        set.await.expect("kept");
    }
    books.earn(1, 5).await;
    let kept = details("999999999999");
    books
        .ledger
        .set_bank_details(LISTENER, &kept)
        .await
        .expect("kept");
    let request = WithdrawalRequest {
        user_id: LISTENER,
        amount_paise: 100,
        idempotency: None,
    };
    books
        .ledger
        .request_withdrawal(&request)
        .await
        .expect("held");

    let retired = format!("1:{}", "a".repeat(64));
    let new = sealer("2", 'b', Some(&retired));
    assert_eq!(count_stale(&books, new.key_id()).await, LISTENERS + 2);
    let rotated = reseal_bank_details(&books.database.app, &new)
        .await
        .expect("rotated");
    assert_eq!(rotated, LISTENERS.unsigned_abs() + 2);
    assert_eq!(count_stale(&books, new.key_id()).await, 0);
    let again = reseal_bank_details(&books.database.app, &new)
        .await
        .expect("nothing to do");
    assert_eq!(again, 0);

    let stored = stored_texts(&books).await;
    assert!(
        !stored.contains("\"1:") && !stored.contains(",1:"),
        "{stored}"
    );
    // The new key alone opens everything.
    let alone = sealer("2", 'b', None);
    let read = books.with_sealer(alone).find_bank_details(LISTENER).await;
    assert_eq!(read.expect("opened"), Some(kept));
    let lost = books.ledger.find_bank_details(LISTENER).await;
    assert!(lost.is_err(), "the old key opens nothing any more");
}
