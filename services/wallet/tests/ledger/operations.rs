//! Every operation at most once, and books that add up.

use futures::future::join_all;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_wallet::domain::WalletError;
use talktime_wallet::domain::charging::MinuteCharge;
use talktime_wallet::ledger::{
    BalanceReader, ChargeOutcome, PaymentProof, RechargeRequest, RequestedCoinPurchase,
    close_account,
};

use crate::books::{CALL, CALLER, LISTENER, TestBooks, minute, recharge, settlement};

#[tokio::test]
async fn a_charge_sent_twice_takes_its_coins_once() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let first = books.charge(&[minute(1)]).await.expect("paid");
    let again = books.charge(&[minute(1)]).await.expect("replayed");
    assert_eq!(first, again);
    assert_eq!(books.load_coins(CALLER).await, 290);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_batch_with_a_repeated_minute_charges_and_reports_only_the_others() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let first = books.charge(&[minute(1)]).await.expect("paid");
    let both = books.charge(&[minute(1), minute(2)]).await.expect("paid");
    assert_eq!(both[0], first[0]);
    assert!(
        matches!(
            both[1],
            ChargeOutcome::Charged {
                balance_coins: 280,
                ..
            }
        ),
        "{both:?}"
    );
    assert_eq!(books.load_coins(CALLER).await, 280);
    assert_eq!(books.count_events("events.wallet.charged").await, 2);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_paid_minute_is_still_paid_when_the_coins_are_spent() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let minutes: Vec<_> = (1..=30).map(minute).collect();
    let paid = books.charge(&minutes).await.expect("paid");
    assert_eq!(books.load_coins(CALLER).await, 0);
    let again = books.charge(&[minute(30), minute(31)]).await;
    let again = again.expect("decided");
    assert_eq!(again[0], paid[29]);
    assert_eq!(again[1], ChargeOutcome::Insufficient { available_coins: 0 });
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_hundred_concurrent_charges_spend_no_more_coins_than_there_are() {
    let books = TestBooks::new().await;
    let coins = RechargeRequest {
        wanted: RequestedCoinPurchase::Coins {
            coins: 379,
            amount_paise: 18_950,
        },
        ..recharge("a")
    };
    books.ledger.redeem_recharge(&coins).await.expect("bought");
    let charges = (1..=100).map(|n| {
        let books = &books;
        async move { books.charge(&[minute(n)]).await.expect("decided")[0] }
    });
    let outcomes = join_all(charges).await;
    let charged = outcomes
        .iter()
        .filter(|o| matches!(o, ChargeOutcome::Charged { .. }))
        .count();
    assert_eq!(charged, 37);
    assert_eq!(books.load_coins(CALLER).await, 9);
    books.assert_consistent().await;
}

#[tokio::test]
async fn one_of_two_prices_for_the_same_minute_is_charged() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let charges = (0..40).map(|n| {
        let charge = MinuteCharge {
            coins: if n % 2 == 0 { 10 } else { 11 },
            ..minute(1)
        };
        let books = &books;
        async move { books.charge(&[charge]).await }
    });
    let (charged, refused): (Vec<_>, Vec<_>) =
        join_all(charges).await.into_iter().partition(Result::is_ok);
    assert_eq!((charged.len(), refused.len()), (20, 20));
    for refusal in refused {
        assert!(
            matches!(refusal, Err(WalletError::TransferMismatch { .. })),
            "{refusal:?}"
        );
    }
    let left = books.load_coins(CALLER).await;
    assert!([289, 290].contains(&left), "{left} coins are left");
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_charge_that_leaves_a_low_balance_appends_an_event() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let minutes: Vec<_> = (1..=28).map(minute).collect();
    books.charge(&minutes).await.expect("paid");
    assert_eq!(books.count_events("events.wallet.low_balance").await, 0);
    for (n, warnings) in [(29, 1), (30, 2)] {
        books.charge(&[minute(n)]).await.expect("paid");
        assert_eq!(
            books.count_events("events.wallet.low_balance").await,
            warnings
        );
    }
    let versions: (i64, i64) = sqlx::query_as(
        "SELECT count(*), max(version) FROM wallet.user_wallets WHERE user_id = 1 GROUP BY user_id",
    )
    .fetch_one(&books.database.app_pool)
    .await
    .expect("readable");
    assert_eq!(
        versions,
        (1, 33),
        "a purchase, thirty minutes, two warnings"
    );
}

#[tokio::test]
async fn a_voided_charge_returns_its_coins_once() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    books.charge(&[minute(1)]).await.expect("paid");
    assert_eq!(
        books
            .ledger
            .void_charge(CALL, 1, CALLER)
            .await
            .expect("undone"),
        10
    );
    assert_eq!(
        books
            .ledger
            .void_charge(CALL, 1, CALLER)
            .await
            .expect("undone before"),
        10
    );
    assert_eq!(books.load_coins(CALLER).await, 300);
    let late = books.charge(&[minute(1)]).await.expect("decided");
    assert_eq!(late, [ChargeOutcome::Voided]);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_charge_that_arrives_after_its_void_takes_no_coins() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    assert_eq!(
        books
            .ledger
            .void_charge(CALL, 1, CALLER)
            .await
            .expect("forbidden"),
        0
    );
    let late = books.charge(&[minute(1)]).await.expect("decided");
    assert_eq!(late, [ChargeOutcome::Voided]);
    assert_eq!(books.load_coins(CALLER).await, 300);
}

#[tokio::test]
async fn a_charge_and_its_concurrent_void_leave_the_balance_unchanged() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    for n in 1..=20 {
        let minutes = [minute(n)];
        let (charged, voided) = tokio::join!(
            books.charge(&minutes),
            books.ledger.void_charge(CALL, n, CALLER)
        );
        charged.expect("decided");
        voided.expect("undone");
        assert_eq!(books.load_coins(CALLER).await, 300, "minute {n}");
    }
    books.assert_consistent().await;
}

#[tokio::test]
async fn nobody_can_void_a_charge_of_someone_else() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    books.charge(&[minute(1)]).await.expect("paid");
    let error = books
        .ledger
        .void_charge(CALL, 1, LISTENER)
        .await
        .expect_err("not theirs");
    assert!(matches!(error, WalletError::TransferMismatch { .. }));
}

#[tokio::test]
async fn a_settlement_pays_the_listener_once_and_returns_uncounted_minutes() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    books
        .charge(&[minute(1), minute(2), minute(3)])
        .await
        .expect("paid");
    let settlements = (0..20).map(|_| {
        let books = &books;
        async move { books.settle(&settlement(2)).await.expect("settled") }
    });
    let settled = join_all(settlements).await;
    assert!(settled.iter().all(|each| *each == settled[0]));
    assert_eq!(settled[0].coins_spent, 20);
    assert_eq!(settled[0].caller_balance_coins, 280);
    let listener = books.ledger.load_balance(LISTENER).await.expect("readable");
    assert_eq!(listener.withdrawable_paise, 200);
    assert_eq!(listener.total_earned_paise, 200);
    assert_eq!(books.count_events("events.wallet.earned").await, 1);
    let late = books.charge(&[minute(4)]).await.expect("decided");
    assert_eq!(
        late,
        [ChargeOutcome::Voided],
        "the books of the call are closed"
    );
    books.assert_consistent().await;
}

#[tokio::test]
async fn balances_that_are_read_together_are_those_of_their_owners() {
    let books = TestBooks::new().await;
    books.earn(CALL, 3).await;
    books.recharge("a").await;
    let reader = BalanceReader::start(&ProcessLifecycle::default(), books.ledger.clone());
    let nobody = LISTENER + 1;
    let readings = (0..60).map(|n| reader.load_balance([CALLER, LISTENER, nobody][n % 3]));
    let read = join_all(readings).await.into_iter();
    let read: Vec<_> = read.map(|balance| balance.expect("readable")).collect();
    for balances in read.chunks(3) {
        let coins = [0, 1, 2].map(|n| balances[n].balance_coins);
        let paise = [0, 1, 2].map(|n| balances[n].withdrawable_paise);
        assert_eq!((coins, paise), ([300, 0, 0], [0, 300, 0]));
    }
}

#[tokio::test]
async fn the_same_settlement_id_with_other_content_is_refused() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    books.charge(&[minute(1), minute(2)]).await.expect("paid");
    books.settle(&settlement(1)).await.expect("settled");
    let error = books
        .settle(&settlement(2))
        .await
        .expect_err("other minutes");
    assert!(matches!(error, WalletError::TransferMismatch { .. }));
}

#[tokio::test]
async fn one_payment_credits_once() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let proven = RechargeRequest {
        proof: PaymentProof::Sandbox {
            payment_id: "sandbox_a".to_owned(),
        },
        ..recharge("b")
    };
    let proofs = (0..20).map(|_| books.ledger.redeem_recharge(&proven));
    for proof in join_all(proofs).await {
        assert_eq!(proof.expect("the first answer").balance_coins, 300);
    }
    assert_eq!(books.load_coins(CALLER).await, 300);
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_payment_that_does_not_exist_buys_nothing() {
    let books = TestBooks::new().await;
    let invented = RechargeRequest {
        proof: PaymentProof::Sandbox {
            payment_id: "sandbox_x".to_owned(),
        },
        ..recharge("b")
    };
    let error = books
        .ledger
        .redeem_recharge(&invented)
        .await
        .expect_err("unpaid");
    assert!(matches!(error, WalletError::Unpaid));
    assert_eq!(books.load_coins(CALLER).await, 0);
}

#[tokio::test]
async fn one_idempotency_key_buys_once() {
    let books = TestBooks::new().await;
    let keyed_request = |amount: i64| {
        talktime_kit::idempotency::KeyedRequest::new(CALLER, "recharge", "key".to_owned(), &amount)
            .expect("a valid key")
    };
    let requests = (0..10).map(|n| {
        let ledger = books.ledger.clone();
        let request = RechargeRequest {
            idempotency: Some(keyed_request(150)),
            ..recharge(&format!("id{n}"))
        };
        async move {
            ledger
                .redeem_recharge(&request)
                .await
                .expect("bought, or the first answer")
        }
    });
    let answers = join_all(requests).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(books.load_coins(CALLER).await, 300);

    let other = RechargeRequest {
        idempotency: Some(keyed_request(300)),
        ..recharge("other")
    };
    let error = talktime_kit::Error::from(
        books
            .ledger
            .redeem_recharge(&other)
            .await
            .expect_err("reused"),
    );
    assert_eq!(error.code(), "idempotency_key_reused");
    books.assert_consistent().await;
}

#[tokio::test]
async fn a_closed_account_leaves_a_journal_that_still_adds_up() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    books.charge(&[minute(1)]).await.expect("paid");
    let mut tx = books.database.app.begin().await.expect("connected");
    close_account(&mut tx, CALLER, &[], books.clock.now())
        .await
        .expect("closed");
    close_account(&mut tx, CALLER, &[], books.clock.now())
        .await
        .expect("closed before");
    tx.commit().await.expect("committed");
    let left: i64 = sqlx::query_scalar(
        "SELECT COALESCE(sum(CASE WHEN credit_account = 'user/1' THEN amount ELSE -amount END), 0)::bigint
         FROM wallet.journal WHERE 'user/1' IN (credit_account, debit_account)",
    )
    .fetch_one(&books.database.app_pool)
    .await
    .expect("readable");
    assert_eq!(left, 0);
    books.assert_consistent().await;
}

#[tokio::test]
async fn the_journal_cannot_be_changed_by_the_service() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    for statement in [
        "UPDATE wallet.journal SET amount = 1",
        "DELETE FROM wallet.journal",
        "DELETE FROM wallet.transfers",
    ] {
        let error = sqlx::query(statement)
            .execute(&books.database.app_pool)
            .await
            .expect_err("refused");
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .expect("a database error");
        assert_eq!(code, "42501", "permission denied");
    }
}

#[tokio::test]
async fn a_settlement_after_its_parties_are_gone_pays_nobody_and_keeps_the_books() {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let minutes = [minute(1), minute(2)];
    books.charge(&minutes).await.expect("paid");
    let mut tx = books.database.app.begin().await.expect("connected");
    for user_id in [CALLER, LISTENER] {
        close_account(&mut tx, user_id, &[], books.clock.now())
            .await
            .expect("closed");
    }
    tx.commit().await.expect("committed");
    let settled = books.settle(&settlement(1)).await.expect("settled");
    assert_eq!((settled.coins_spent, settled.listener_paise), (10, 100));
    assert_eq!(books.settle(&settlement(1)).await.expect("again"), settled);
    let wallets: i64 = sqlx::query_scalar("SELECT count(*) FROM wallet.user_wallets")
        .fetch_one(&books.database.app_pool)
        .await
        .expect("readable");
    assert_eq!(wallets, 0, "nobody comes back");
    books.assert_consistent().await;
}
