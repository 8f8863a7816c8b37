//! Whatever is changed behind the service's back shows.

use crate::books::{TestBooks, minute, settlement};

/// Books with a purchase, a charge, a charge undone and a listener paid.
async fn busy_books() -> TestBooks {
    let books = TestBooks::new().await;
    books.recharge("a").await;
    let minutes = [minute(1), minute(2)];
    books.charge(&minutes).await.expect("paid");
    books.settle(&settlement(1)).await.expect("settled");
    books.assert_consistent().await;
    books
}

const WALLET_OF_CALLER: &str = "the wallet of user 1 is not what the journal adds up to";
const HISTORY_OF_CALLER: &str = "the history of user 1 does not add up to the wallet";
const MINUTE_OF_CALLER: &str = "the chain of user 1 breaks at transfer call/7/minute/1";

#[tokio::test]
async fn a_changed_balance_is_detected() {
    let found = busy_books()
        .await
        .tamper("UPDATE wallet.user_wallets SET balance_coins = 301 WHERE user_id = 1")
        .await;
    assert_eq!(found, [WALLET_OF_CALLER, HISTORY_OF_CALLER]);
}

#[tokio::test]
async fn a_missing_transaction_is_detected() {
    let found = busy_books()
        .await
        .tamper("DELETE FROM wallet.user_transactions WHERE transfer_id = 'call/7/minute/1'")
        .await;
    assert_eq!(found, [HISTORY_OF_CALLER]);
}

#[tokio::test]
async fn a_missing_line_of_earnings_is_detected() {
    let found = busy_books()
        .await
        .tamper("DELETE FROM wallet.user_transactions WHERE tx_type = 'earn'")
        .await;
    assert_eq!(
        found,
        ["the history of user 2 does not add up to the wallet"]
    );
}

#[tokio::test]
async fn a_changed_journal_row_is_detected() {
    let found = busy_books()
        .await
        .tamper("UPDATE wallet.journal SET amount = 9 WHERE transfer_id = 'call/7/minute/1'")
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
async fn a_missing_journal_row_between_platform_accounts_is_detected() {
    let found = busy_books()
        .await
        .tamper("DELETE FROM wallet.journal WHERE debit_account = 'platform/gateway_clearing'")
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
async fn a_change_that_keeps_every_sum_breaks_the_chain() {
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
            "UPDATE wallet.journal SET credit_account = 'platform/coin_issue'
             WHERE transfer_id = 'call/7/minute/1'",
            vec![MINUTE_OF_CALLER],
        ),
    ] {
        assert_eq!(books.tamper(statement).await, changed, "{statement}");
    }
}

#[tokio::test]
async fn two_lines_changed_by_opposite_amounts_are_detected() {
    let books = busy_books().await;
    let found = books
        .tamper(
            "UPDATE wallet.user_transactions SET coins_change = 299, description = ''
             WHERE tx_type = 'purchase'",
        )
        .await;
    assert_eq!(found.len(), 2, "{found:?}");
    let found = books
        .tamper(
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
async fn a_transfer_missing_at_the_end_of_a_chain_is_detected() {
    let books = busy_books().await;
    let statement = "DELETE FROM wallet.journal WHERE transfer_id = 'call/7/settlement'";
    books.tamper(statement).await;
    for statement in [
        "DELETE FROM wallet.user_transactions WHERE transfer_id = 'call/7/settlement'",
        "DELETE FROM wallet.transfers WHERE transfer_id = 'call/7/settlement'",
        "UPDATE wallet.user_wallets SET withdrawable_money = 0, total_earned = 0 WHERE user_id = 2",
    ] {
        books.tamper(statement).await;
    }
    assert_eq!(
        books.find_differences().await,
        ["the chain of user 2 does not end where the wallet says"]
    );
}

#[tokio::test]
async fn coins_without_a_reported_payment_are_detected() {
    for (statement, difference) in [
        (
            "UPDATE wallet.order_payments SET outcome = 'underpaid'",
            "payment sandbox_a is underpaid and brought 300 coins",
        ),
        (
            "UPDATE wallet.order_payments SET coins = 301",
            "payment sandbox_a did not bring the 301 coins that were paid for",
        ),
        (
            "UPDATE wallet.order_payments SET refunded = 5000",
            "payment sandbox_a took 0 coins back, and 5000 paise that went back make 100",
        ),
        (
            "UPDATE wallet.payment_orders SET reversed_coins = 1",
            "order order_a was not credited by what the provider reported",
        ),
        (
            "DELETE FROM wallet.order_payments",
            "order order_a was not credited by what the provider reported",
        ),
    ] {
        let found = busy_books().await.tamper(statement).await;
        assert!(
            found.contains(&difference.to_owned()),
            "{statement}: {found:?}"
        );
    }
}

#[tokio::test]
async fn forfeits_and_debts_without_a_deletion_are_detected() {
    let books = busy_books().await;
    let found = books
        .tamper(
            "UPDATE wallet.journal SET debit_account = 'platform/forfeited'
             WHERE transfer_id = 'payment/sandbox_a' AND ledger = 'coins'",
        )
        .await;
    let expected = "transfer payment/sandbox_a moves what somebody left behind who was not deleted";
    assert!(found.contains(&expected.to_owned()), "{found:?}");

    let books = busy_books().await;
    let mut tx = books.database.app.begin().await.expect("connected");
    talktime_wallet::ledger::close_account(&mut tx, 1, &[], books.clock.now())
        .await
        .expect("closed");
    tx.commit().await.expect("committed");
    books.assert_consistent().await;
    let found = books
        .tamper("UPDATE wallet.closed_wallets SET debt_coins = 5")
        .await;
    assert_eq!(
        found,
        ["the closed wallet of user 1 is not what the journal adds up to"]
    );
}

#[tokio::test]
async fn every_column_of_money_has_a_check() {
    let books = TestBooks::new().await;
    let unchecked: Vec<String> = sqlx::query_scalar(
        "SELECT t.relname || '.' || a.attname
         FROM pg_attribute AS a JOIN pg_class AS t ON t.oid = a.attrelid
         WHERE t.relnamespace = 'wallet'::regnamespace AND t.relkind = 'r'
           AND a.atttypid IN ('bigint'::regtype, 'numeric'::regtype) AND a.attnum > 0
           AND a.attname ~ '(coins|paise|money|amount|earned|withdrawn|withdrawals)'
           AND NOT EXISTS (SELECT FROM pg_constraint AS c WHERE c.conrelid = t.oid
                           AND c.contype = 'c' AND a.attnum = ANY (c.conkey))
         ORDER BY 1",
    )
    .fetch_all(&books.database.superuser)
    .await
    .expect("the catalogue is readable");
    assert_eq!(unchecked, [""; 0]);
}

#[tokio::test]
async fn values_outside_the_checks_of_a_column_are_refused() {
    let books = busy_books().await;
    for statement in [
        "UPDATE wallet.user_wallets SET balance_coins = -1",
        "UPDATE wallet.user_wallets SET bonus_coins = -1",
        "UPDATE wallet.user_wallets SET debt_coins = -1",
        "UPDATE wallet.user_wallets SET withdrawable_money = -0.01",
        "UPDATE wallet.user_wallets SET withdrawable_money = 1e10",
        "UPDATE wallet.transfers SET coins = -1",
        "UPDATE wallet.transfers SET bonus_coins = coins + 1",
        "UPDATE wallet.call_earnings SET bonus_money = money + 1",
        "UPDATE wallet.user_transactions SET coins_change = 1 WHERE tx_type = 'spend'",
        "UPDATE wallet.user_transactions SET tx_type = 'gift'",
        "UPDATE wallet.journal SET amount = 0",
        "UPDATE wallet.payment_orders SET reversed_paise = amount_paise + 1",
    ] {
        let changed = sqlx::query(statement)
            .execute(&books.database.superuser)
            .await;
        assert!(changed.is_err(), "{statement}");
    }
}
