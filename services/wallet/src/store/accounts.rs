//! Sums over the journal: the truth that balances follow.

use sqlx::PgConnection;

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
