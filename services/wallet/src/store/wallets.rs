//! `wallet.user_wallets`: one row a person, the balance that the journal adds up to.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

/// A wallet under lock.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct Wallet {
    /// Whose it is.
    pub user_id: i64,
    /// Coins to spend.
    pub balance_coins: i64,
    /// Rupees that may be withdrawn, in paise.
    pub withdrawable_paise: i64,
    /// Version of the last event.
    pub version: i64,
}

/// What the owner of a wallet is told.
#[derive(Clone, Copy, Debug, Default, FromRow)]
pub struct Balance {
    /// Coins to spend.
    pub balance_coins: i64,
    /// May be withdrawn, in paise.
    pub withdrawable_paise: i64,
    /// Earned ever, in paise.
    pub total_earned_paise: i64,
    /// Paid out ever, in paise.
    pub total_withdrawn_paise: i64,
    /// Asked for and not yet paid out, in paise.
    pub pending_withdrawals_paise: i64,
}

/// Makes wallets where they are missing.
pub async fn ensure(
    tx: &mut PgConnection,
    user_ids: &[i64],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO wallet.user_wallets (user_id, created_at, updated_at)
         SELECT user_id, $2, $2 FROM unnest($1::bigint[]) AS person (user_id) ORDER BY user_id
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user_ids)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Locks wallets in the order of their owners' ids and reads them; a missing one is left out.
pub async fn lock(tx: &mut PgConnection, user_ids: &[i64]) -> sqlx::Result<HashMap<i64, Wallet>> {
    let wallets: Vec<Wallet> = sqlx::query_as(
        "SELECT user_id, balance_coins, (withdrawable_money * 100)::bigint AS withdrawable_paise,
                version
         FROM wallet.user_wallets WHERE user_id = ANY($1) ORDER BY user_id FOR UPDATE",
    )
    .bind(user_ids)
    .fetch_all(tx)
    .await?;
    Ok(wallets
        .into_iter()
        .map(|wallet| (wallet.user_id, wallet))
        .collect())
}

/// A person's balance; all zero for a person without a wallet yet.
pub async fn balance(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<Balance> {
    let balance = sqlx::query_as(
        "SELECT balance_coins,
                (withdrawable_money * 100)::bigint AS withdrawable_paise,
                (total_earned * 100)::bigint AS total_earned_paise,
                (total_withdrawn * 100)::bigint AS total_withdrawn_paise,
                (pending_withdrawals * 100)::bigint AS pending_withdrawals_paise
         FROM wallet.user_wallets WHERE user_id = $1",
    )
    .bind(user_id)
    .fetch_optional(connection)
    .await?;
    Ok(balance.unwrap_or_default())
}

/// Drops a person's wallet and its history; the journal stays.
pub async fn delete(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    for statement in [
        "DELETE FROM wallet.user_withdrawals WHERE user_id = $1",
        "DELETE FROM wallet.payment_orders WHERE user_id = $1",
        "DELETE FROM wallet.user_wallets WHERE user_id = $1",
    ] {
        sqlx::query(statement)
            .bind(user_id)
            .execute(&mut *tx)
            .await?;
    }
    Ok(())
}
