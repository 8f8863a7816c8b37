//! The ledger on a real Postgres: every operation at most once, and books that add up.

use chrono::DateTime;
use futures::future::join_all;
use talktime_kit::Clock;
use talktime_kit::messaging::Relay;
use talktime_kit::testing::TestDatabase;
use talktime_wallet::SCHEMA;
use talktime_wallet::domain::WalletError;
use talktime_wallet::domain::charging::Charge;
use talktime_wallet::domain::payment::{PaymentMethod, RateCard};
use talktime_wallet::domain::settlement::{CallType, Settlement};
use talktime_wallet::ledger::{Ledger, Outcome, Recharge, close_account};
use talktime_wallet::store::accounts::differences;

const CALLER: i64 = 1;
const LISTENER: i64 = 2;
const CALL: i64 = 7;

struct Books {
    ledger: Ledger,
    database: TestDatabase,
    clock: Clock,
}

impl Books {
    async fn open() -> Self {
        let database = TestDatabase::new(SCHEMA).await;
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).expect("valid"));
        let ledger = Ledger::new(
            database.app.clone(),
            Relay::default(),
            clock.clone(),
            RateCard::default(),
        );
        Self {
            ledger,
            database,
            clock,
        }
    }

    async fn recharge(&self, fresh_id: &str) {
        self.ledger
            .recharge(&recharge(fresh_id))
            .await
            .expect("on the card");
    }

    async fn coins(&self, user_id: i64) -> i64 {
        self.ledger
            .balance(user_id)
            .await
            .expect("readable")
            .balance_coins
    }

    async fn assert_right(&self) {
        let wrong = self.differences().await;
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    async fn differences(&self) -> Vec<String> {
        let mut connection = self.database.app.acquire().await.expect("connected");
        differences(&mut connection).await.expect("readable")
    }

    /// Does what no service may, and answers what is then found.
    async fn tampered(&self, statement: &'static str) -> Vec<String> {
        let changed = sqlx::query(statement)
            .execute(&self.database.superuser)
            .await
            .expect("changed");
        assert_eq!(changed.rows_affected(), 1, "{statement}");
        self.differences().await
    }
}

fn recharge(fresh_id: &str) -> Recharge {
    Recharge {
        user_id: CALLER,
        amount_paise: 15_000,
        payment_method: PaymentMethod::Upi,
        payment_id: None,
        fresh_id: fresh_id.to_owned(),
        idempotency: None,
    }
}

fn minute(minute: i32) -> Charge {
    Charge {
        call_id: CALL,
        minute,
        user_id: CALLER,
        coins: 10,
    }
}

fn settlement(minutes: i32) -> Settlement {
    Settlement {
        call_id: CALL,
        caller_id: CALLER,
        listener_id: LISTENER,
        minutes,
        listener_paise_per_minute: 100,
        call_type: Some(CallType::Audio),
    }
}

#[tokio::test]
async fn a_charge_happens_once_however_often_it_is_sent() {
    let books = Books::open().await;
    books.recharge("a").await;
    let first = books.ledger.charge(&[minute(1)]).await.expect("paid");
    let again = books.ledger.charge(&[minute(1)]).await.expect("replayed");
    assert_eq!(first, again);
    assert_eq!(books.coins(CALLER).await, 290);
    books.assert_right().await;
}

#[tokio::test]
async fn a_hundred_charges_at_once_on_coins_for_thirty() {
    let books = Books::open().await;
    books.recharge("a").await;
    let charges = (1..=100).map(|n| {
        let ledger = books.ledger.clone();
        async move { ledger.charge(&[minute(n)]).await.expect("decided")[0] }
    });
    let outcomes = join_all(charges).await;
    let charged = outcomes
        .iter()
        .filter(|o| matches!(o, Outcome::Charged { .. }))
        .count();
    assert_eq!(charged, 30);
    assert_eq!(books.coins(CALLER).await, 0);
    books.assert_right().await;
}

#[tokio::test]
async fn a_voided_charge_returns_its_coins_once() {
    let books = Books::open().await;
    books.recharge("a").await;
    books.ledger.charge(&[minute(1)]).await.expect("paid");
    assert_eq!(
        books.ledger.void(CALL, 1, CALLER).await.expect("undone"),
        10
    );
    assert_eq!(
        books
            .ledger
            .void(CALL, 1, CALLER)
            .await
            .expect("undone before"),
        10
    );
    assert_eq!(books.coins(CALLER).await, 300);
    let late = books.ledger.charge(&[minute(1)]).await.expect("decided");
    assert_eq!(late, [Outcome::Voided]);
    books.assert_right().await;
}

#[tokio::test]
async fn a_charge_that_comes_after_its_void_never_happens() {
    let books = Books::open().await;
    books.recharge("a").await;
    assert_eq!(
        books.ledger.void(CALL, 1, CALLER).await.expect("forbidden"),
        0
    );
    let late = books.ledger.charge(&[minute(1)]).await.expect("decided");
    assert_eq!(late, [Outcome::Voided]);
    assert_eq!(books.coins(CALLER).await, 300);
}

#[tokio::test]
async fn a_charge_and_its_void_at_once_leave_nothing_behind() {
    let books = Books::open().await;
    books.recharge("a").await;
    for n in 1..=20 {
        let minutes = [minute(n)];
        let (charged, voided) = tokio::join!(
            books.ledger.charge(&minutes),
            books.ledger.void(CALL, n, CALLER)
        );
        charged.expect("decided");
        voided.expect("undone");
        assert_eq!(books.coins(CALLER).await, 300, "minute {n}");
    }
    books.assert_right().await;
}

#[tokio::test]
async fn nobody_can_void_a_charge_of_someone_else() {
    let books = Books::open().await;
    books.recharge("a").await;
    books.ledger.charge(&[minute(1)]).await.expect("paid");
    let error = books
        .ledger
        .void(CALL, 1, LISTENER)
        .await
        .expect_err("not theirs");
    assert!(matches!(error, WalletError::TransferMismatch { .. }));
}

#[tokio::test]
async fn a_settlement_pays_the_listener_once_and_returns_what_was_not_talked() {
    let books = Books::open().await;
    books.recharge("a").await;
    books
        .ledger
        .charge(&[minute(1), minute(2), minute(3)])
        .await
        .expect("paid");
    let settlements = (0..20).map(|_| {
        let ledger = books.ledger.clone();
        async move { ledger.settle(&settlement(2)).await.expect("settled") }
    });
    let settled = join_all(settlements).await;
    assert!(settled.iter().all(|each| *each == settled[0]));
    assert_eq!(settled[0].coins_spent, 20);
    assert_eq!(settled[0].caller_balance_coins, 280);
    let listener = books.ledger.balance(LISTENER).await.expect("readable");
    assert_eq!(listener.withdrawable_paise, 200);
    assert_eq!(listener.total_earned_paise, 200);
    let late = books.ledger.charge(&[minute(4)]).await.expect("decided");
    assert_eq!(late, [Outcome::Voided], "the books of the call are closed");
    books.assert_right().await;
}

#[tokio::test]
async fn the_same_settlement_id_with_other_content_is_refused() {
    let books = Books::open().await;
    books.recharge("a").await;
    books
        .ledger
        .charge(&[minute(1), minute(2)])
        .await
        .expect("paid");
    books.ledger.settle(&settlement(1)).await.expect("settled");
    let error = books
        .ledger
        .settle(&settlement(2))
        .await
        .expect_err("other minutes");
    assert!(matches!(error, WalletError::TransferMismatch { .. }));
}

#[tokio::test]
async fn one_payment_credits_once() {
    let books = Books::open().await;
    books.recharge("a").await;
    let proven = Recharge {
        payment_id: Some("sandbox_a".to_owned()),
        ..recharge("b")
    };
    let proofs = (0..20).map(|_| books.ledger.recharge(&proven));
    for proof in join_all(proofs).await {
        assert_eq!(proof.expect("the first answer").balance_coins, 300);
    }
    assert_eq!(books.coins(CALLER).await, 300);
    books.assert_right().await;
}

#[tokio::test]
async fn a_payment_nobody_made_buys_nothing() {
    let books = Books::open().await;
    let invented = Recharge {
        payment_id: Some("sandbox_x".to_owned()),
        ..recharge("b")
    };
    let error = books.ledger.recharge(&invented).await.expect_err("unpaid");
    assert!(matches!(error, WalletError::Unpaid));
    assert_eq!(books.coins(CALLER).await, 0);
}

#[tokio::test]
async fn one_idempotency_key_buys_once() {
    let books = Books::open().await;
    let request = |amount: i64| {
        talktime_kit::idempotency::Request::new(CALLER, "recharge", "key".to_owned(), &amount)
            .expect("a valid key")
    };
    let wishes = (0..10).map(|n| {
        let ledger = books.ledger.clone();
        let wish = Recharge {
            idempotency: Some(request(150)),
            ..recharge(&format!("id{n}"))
        };
        async move {
            ledger
                .recharge(&wish)
                .await
                .expect("bought, or the first answer")
        }
    });
    let answers = join_all(wishes).await;
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(books.coins(CALLER).await, 300);

    let other = Recharge {
        idempotency: Some(request(300)),
        ..recharge("other")
    };
    let error = talktime_kit::Error::from(books.ledger.recharge(&other).await.expect_err("reused"));
    assert_eq!(error.code(), "idempotency_key_reused");
    books.assert_right().await;
}

#[tokio::test]
async fn a_closed_account_leaves_a_journal_that_still_adds_up() {
    let books = Books::open().await;
    books.recharge("a").await;
    books.ledger.charge(&[minute(1)]).await.expect("paid");
    let mut tx = books.database.app.begin().await.expect("connected");
    close_account(&mut tx, CALLER, books.clock.now())
        .await
        .expect("closed");
    close_account(&mut tx, CALLER, books.clock.now())
        .await
        .expect("closed before");
    tx.commit().await.expect("committed");
    let left: i64 = sqlx::query_scalar(
        "SELECT COALESCE(sum(CASE WHEN credit_account = 'user/1' THEN amount ELSE -amount END), 0)::bigint
         FROM wallet.journal WHERE 'user/1' IN (credit_account, debit_account)",
    )
    .fetch_one(&books.database.app)
    .await
    .expect("readable");
    assert_eq!(left, 0);
    books.assert_right().await;
}

#[tokio::test]
async fn the_journal_cannot_be_changed_by_the_service() {
    let books = Books::open().await;
    books.recharge("a").await;
    for statement in [
        "UPDATE wallet.journal SET amount = 1",
        "DELETE FROM wallet.journal",
        "DELETE FROM wallet.transfers",
    ] {
        let error = sqlx::query(statement)
            .execute(&books.database.app)
            .await
            .expect_err("refused");
        let code = error
            .as_database_error()
            .and_then(sqlx::error::DatabaseError::code)
            .expect("a database error");
        assert_eq!(code, "42501", "permission denied");
    }
}

/// Books with a purchase, a charge, a charge undone and a listener paid.
async fn busy_books() -> Books {
    let books = Books::open().await;
    books.recharge("a").await;
    let minutes = [minute(1), minute(2)];
    books.ledger.charge(&minutes).await.expect("paid");
    books.ledger.settle(&settlement(1)).await.expect("settled");
    books.assert_right().await;
    books
}

const WALLET_OF_CALLER: &str = "the wallet of user 1 is not what the journal adds up to";
const HISTORY_OF_CALLER: &str = "the history of user 1 does not add up to the wallet";
const MINUTE_OF_CALLER: &str = "the chain of user 1 breaks at transfer call/7/minute/1";

#[tokio::test]
async fn a_changed_balance_shows() {
    let found = busy_books()
        .await
        .tampered("UPDATE wallet.user_wallets SET balance_coins = 301 WHERE user_id = 1")
        .await;
    assert_eq!(found, [WALLET_OF_CALLER, HISTORY_OF_CALLER]);
}

#[tokio::test]
async fn a_missing_transaction_shows() {
    let found = busy_books()
        .await
        .tampered("DELETE FROM wallet.user_transactions WHERE transfer_id = 'call/7/minute/1'")
        .await;
    assert_eq!(found, [HISTORY_OF_CALLER]);
}

#[tokio::test]
async fn a_missing_line_of_earnings_shows() {
    let found = busy_books()
        .await
        .tampered("DELETE FROM wallet.user_transactions WHERE tx_type = 'earn'")
        .await;
    assert_eq!(
        found,
        ["the history of user 2 does not add up to the wallet"]
    );
}

#[tokio::test]
async fn a_changed_journal_row_shows() {
    let found = busy_books()
        .await
        .tampered("UPDATE wallet.journal SET amount = 9 WHERE transfer_id = 'call/7/minute/1'")
        .await;
    let [wallet, line, transfer, chain] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!(wallet, WALLET_OF_CALLER);
    assert!(
        line.ends_with("does not say what its transfer moved"),
        "{line}"
    );
    assert_eq!(
        transfer,
        "the journal of transfer call/7/minute/1 does not move what it says"
    );
    assert_eq!(chain, MINUTE_OF_CALLER);
}

#[tokio::test]
async fn a_missing_journal_row_shows_though_no_wallet_is_part_of_it() {
    let found = busy_books()
        .await
        .tampered("DELETE FROM wallet.journal WHERE debit_account = 'platform/gateway_clearing'")
        .await;
    assert_eq!(
        found,
        [
            "the journal of transfer payment/sandbox_a does not move what it says",
            "the chain of user 1 breaks at transfer payment/sandbox_a"
        ]
    );
}

/// A change of everything that has a sum: the amounts of two minutes, in all tables that name them.
#[tokio::test]
async fn a_change_that_keeps_every_sum_shows_in_the_chain() {
    let books = busy_books().await;
    for (statement, changed) in [
        (
            "UPDATE wallet.transfers SET created_at = created_at - interval '1 hour'
             WHERE transfer_id = 'call/7/minute/1'",
            vec![MINUTE_OF_CALLER],
        ),
        (
            "UPDATE wallet.transfers SET created_at = created_at + interval '1 hour'
             WHERE transfer_id = 'call/7/minute/1'",
            vec![],
        ),
        (
            "UPDATE wallet.journal SET credit_account = 'platform/forfeited'
             WHERE transfer_id = 'call/7/minute/1'",
            vec![MINUTE_OF_CALLER],
        ),
    ] {
        assert_eq!(books.tampered(statement).await, changed, "{statement}");
    }
}

#[tokio::test]
async fn two_lines_changed_against_each_other_show() {
    let books = busy_books().await;
    let found = books
        .tampered(
            "UPDATE wallet.user_transactions SET coins_change = 299, description = ''
             WHERE tx_type = 'purchase'",
        )
        .await;
    assert_eq!(found.len(), 2, "{found:?}");
    let found = books
        .tampered(
            "UPDATE wallet.user_transactions SET coins_change = -9
             WHERE transfer_id = 'call/7/minute/1'",
        )
        .await;
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(
        found
            .iter()
            .all(|each| each.ends_with("does not say what its transfer moved")),
        "{found:?}"
    );
}

#[tokio::test]
async fn a_transfer_cut_off_the_end_shows() {
    let books = busy_books().await;
    let statement = "DELETE FROM wallet.journal WHERE transfer_id = 'call/7/settlement'";
    books.tampered(statement).await;
    for statement in [
        "DELETE FROM wallet.user_transactions WHERE transfer_id = 'call/7/settlement'",
        "DELETE FROM wallet.transfers WHERE transfer_id = 'call/7/settlement'",
        "UPDATE wallet.user_wallets SET withdrawable_money = 0, total_earned = 0 WHERE user_id = 2",
    ] {
        books.tampered(statement).await;
    }
    assert_eq!(
        books.differences().await,
        ["the chain of user 2 does not end where the wallet says"]
    );
}

#[tokio::test]
async fn a_settlement_after_its_parties_are_gone_pays_nobody_and_keeps_the_books() {
    let books = Books::open().await;
    books.recharge("a").await;
    let minutes = [minute(1), minute(2)];
    books.ledger.charge(&minutes).await.expect("paid");
    let mut tx = books.database.app.begin().await.expect("connected");
    for user_id in [CALLER, LISTENER] {
        close_account(&mut tx, user_id, books.clock.now())
            .await
            .expect("closed");
    }
    tx.commit().await.expect("committed");
    let settled = books.ledger.settle(&settlement(1)).await.expect("settled");
    assert_eq!((settled.coins_spent, settled.listener_paise), (10, 100));
    assert_eq!(
        books.ledger.settle(&settlement(1)).await.expect("again"),
        settled
    );
    let wallets: i64 = sqlx::query_scalar("SELECT count(*) FROM wallet.user_wallets")
        .fetch_one(&books.database.app)
        .await
        .expect("readable");
    assert_eq!(wallets, 0, "nobody comes back");
    books.assert_right().await;
}
