//! Sums over the journal: the truth that balances follow.

use sqlx::{Connection, PgConnection};

/// Wallets whose coins or withdrawable rupees are not what the journal adds up to. Empty when the
/// books are right.
pub async fn mismatched_wallets(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "WITH movement AS (
             SELECT credit_account AS account, ledger, amount FROM wallet.journal
             UNION ALL
             SELECT debit_account, ledger, -amount FROM wallet.journal
         ), total AS (
             SELECT account, COALESCE(sum(amount) FILTER (WHERE ledger = 'coins'), 0) AS coins,
                    COALESCE(sum(amount) FILTER (WHERE ledger = 'paise'), 0) AS paise
             FROM movement GROUP BY account
         )
         SELECT w.user_id FROM wallet.user_wallets AS w
         LEFT JOIN total ON total.account = 'user/' || w.user_id
         WHERE w.balance_coins <> COALESCE(total.coins, 0)
            OR w.withdrawable_money * 100 <> COALESCE(total.paise, 0)
         ORDER BY w.user_id",
    )
    .fetch_all(connection)
    .await
}

/// Wallets whose history does not add up to their coins or to what they ever earned: a line is
/// missing, made up or changed.
pub async fn mismatched_histories(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "WITH history AS (
             SELECT wallet_id, sum(coins_change) AS coins,
                    COALESCE(sum(money_change) FILTER (WHERE tx_type = 'earn'), 0) AS earned
             FROM wallet.user_transactions GROUP BY wallet_id
         )
         SELECT w.user_id FROM wallet.user_wallets AS w LEFT JOIN history USING (wallet_id)
         WHERE w.balance_coins <> COALESCE(history.coins, 0)
            OR w.total_earned <> COALESCE(history.earned, 0)
         ORDER BY w.user_id",
    )
    .fetch_all(connection)
    .await
}

/// Transfers whose journal rows do not move what the transfer says: a row is missing, made up or
/// changed. A settlement's coins moved with its charges, so only its rupees are its own.
pub async fn mismatched_transfers(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "WITH moved AS (
             SELECT transfer_id, COALESCE(sum(amount) FILTER (WHERE ledger = 'coins'), 0) AS coins,
                    COALESCE(sum(amount) FILTER (WHERE ledger = 'paise'), 0) AS paise
             FROM wallet.journal GROUP BY transfer_id
         )
         SELECT transfer_id FROM wallet.transfers AS transfer LEFT JOIN moved USING (transfer_id)
         WHERE transfer.paise <> COALESCE(moved.paise, 0)
            OR CASE transfer.kind WHEN 'settlement' THEN 0 ELSE transfer.coins END
               <> COALESCE(moved.coins, 0)
         ORDER BY transfer_id",
    )
    .fetch_all(connection)
    .await
}

/// Everything in which the books disagree with themselves, a sentence each; empty when they are
/// right. Sees one moment of the database, however busy it is.
pub async fn differences(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let mut moment = connection.begin().await?;
    sqlx::query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .execute(&mut *moment)
        .await?;
    let wallets = mismatched_wallets(&mut moment).await?;
    let histories = mismatched_histories(&mut moment).await?;
    let transfers = mismatched_transfers(&mut moment).await?;
    let wallets = wallets
        .iter()
        .map(|user_id| format!("the wallet of user {user_id} is not what the journal adds up to"));
    let histories = histories
        .iter()
        .map(|user_id| format!("the history of user {user_id} does not add up to the wallet"));
    let transfers = transfers
        .iter()
        .map(|id| format!("the journal of transfer {id} does not move what it says"));
    Ok(wallets.chain(histories).chain(transfers).collect())
}
