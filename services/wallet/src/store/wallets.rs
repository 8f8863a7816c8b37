//! `wallet.user_wallets`: one row a person, the balance that the journal adds up to.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::Error;
use talktime_kit::db::{PgConnection, expect_rows};

use super::earnings::held_paise;
use crate::domain::chain::{ChainHead, ChainLinkHash};

/// A wallet under lock.
#[derive(Clone, Copy, Debug)]
pub struct LockedWallet {
    pub user_id: i64,
    /// Coins that can be spent.
    pub balance_coins: i64,
    /// The part of them that was given. During a release it may exceed the balance (migration 0021).
    pub bonus_coins: i64,
    /// Coins owed for a payment that was taken back.
    pub debt_coins: i64,
    /// Rupees that may be withdrawn, in paise.
    pub withdrawable_paise: i64,
    /// Rupees of withdrawals that are not paid out yet, in paise.
    pub pending_paise: i64,
    /// Version of the last event.
    pub version: i64,
    /// The end of its chain of transfers.
    pub chain: ChainHead,
    /// Whether its owner was deleted: a closed wallet neither receives nor gives.
    pub is_closed: bool,
}

impl LockedWallet {
    /// The given coins that can be spent.
    pub fn given_coins(&self) -> i64 {
        self.bonus_coins.min(self.balance_coins)
    }

    /// The bought coins that can be spent. Only these are disputed, taken back and left behind.
    pub fn bought_coins(&self) -> i64 {
        self.balance_coins - self.given_coins()
    }
}

/// Wallets under lock, by their owners.
pub type LockedWallets = HashMap<i64, LockedWallet>;

#[derive(FromRow)]
struct WalletRow {
    user_id: i64,
    balance_coins: i64,
    bonus_coins: i64,
    debt_coins: i64,
    withdrawable_paise: i64,
    pending_paise: i64,
    version: i64,
    chain_length: i64,
    chain_hash: ChainLinkHash,
    is_closed: bool,
}

impl From<WalletRow> for LockedWallet {
    fn from(row: WalletRow) -> Self {
        Self {
            user_id: row.user_id,
            balance_coins: row.balance_coins,
            bonus_coins: row.bonus_coins,
            debt_coins: row.debt_coins,
            withdrawable_paise: row.withdrawable_paise,
            pending_paise: row.pending_paise,
            version: row.version,
            chain: ChainHead {
                length: row.chain_length,
                hash: row.chain_hash,
            },
            is_closed: row.is_closed,
        }
    }
}

/// The balance of a wallet as its owner sees it.
#[derive(Clone, Copy, Debug, Default, FromRow)]
pub struct WalletBalance {
    /// Coins that can be spent.
    pub balance_coins: i64,
    /// The part of them that was given and not bought.
    pub bonus_coins: i64,
    /// Money that belongs to the owner, in paise.
    pub withdrawable_paise: i64,
    /// The part of it that cannot be withdrawn yet, in paise.
    pub held_paise: i64,
    /// Money earned since the wallet was opened, in paise.
    pub total_earned_paise: i64,
    /// Money paid out since the wallet was opened, in paise.
    pub total_withdrawn_paise: i64,
    /// Money requested and not yet paid out, in paise.
    pub pending_withdrawals_paise: i64,
}

/// Inserts missing wallets, except for deleted people.
pub async fn insert_missing(
    tx: &mut PgConnection,
    user_ids: &[i64],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO wallet.user_wallets (user_id, created_at, updated_at)
         SELECT user_id, $2, $2 FROM unnest($1::bigint[]) AS person (user_id)
         WHERE NOT EXISTS (SELECT FROM wallet.closed_wallets WHERE owner_id = person.user_id)
         ORDER BY user_id
         ON CONFLICT (user_id) DO NOTHING",
    )
    .bind(user_ids)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

/// Locks wallets in the order of their owners' ids and reads them; a missing one is left out. The lock lets others insert
/// rows that refer to a wallet, such as sums of its history, in whatever order they come.
pub async fn lock(
    tx: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<HashMap<i64, LockedWallet>> {
    let rows: Vec<WalletRow> = sqlx::query_as(
        "SELECT user_id, balance_coins, bonus_coins, debt_coins,
                (withdrawable_money * 100)::bigint AS withdrawable_paise,
                (pending_withdrawals * 100)::bigint AS pending_paise,
                version, chain_length, chain_hash, false AS is_closed
         FROM wallet.user_wallets AS w
         WHERE user_id = ANY($1)
           AND NOT EXISTS (SELECT FROM wallet.closed_wallets WHERE owner_id = w.user_id)
         ORDER BY user_id FOR NO KEY UPDATE OF w",
    )
    .bind(user_ids)
    .fetch_all(&mut *tx)
    .await?;
    let mut wallets: HashMap<i64, LockedWallet> = index_by_user(rows);
    if !user_ids.iter().all(|user_id| wallets.contains_key(user_id)) {
        wallets.extend(lock_closed(tx, user_ids).await?);
    }
    Ok(wallets)
}

/// Locks the closed wallets of deleted people.
async fn lock_closed(
    tx: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<HashMap<i64, LockedWallet>> {
    let rows: Vec<WalletRow> = sqlx::query_as(
        "SELECT owner_id AS user_id, 0::bigint AS balance_coins, 0::bigint AS bonus_coins,
                debt_coins,
                0::bigint AS withdrawable_paise, 0::bigint AS pending_paise, 0::bigint AS version,
                chain_length, chain_hash, true AS is_closed
         FROM wallet.closed_wallets WHERE owner_id = ANY($1) ORDER BY owner_id FOR UPDATE",
    )
    .bind(user_ids)
    .fetch_all(tx)
    .await?;
    Ok(index_by_user(rows))
}

fn index_by_user(rows: Vec<WalletRow>) -> HashMap<i64, LockedWallet> {
    rows.into_iter()
        .map(|row| (row.user_id, row.into()))
        .collect()
}

/// A balance with its owner.
#[derive(FromRow)]
struct BalanceRow {
    user_id: i64,
    #[sqlx(flatten)]
    balance: WalletBalance,
}

/// Loads a person's balance; all zero for a person without a wallet. Earnings of calls that were settled after
/// `earned_until` are held.
pub async fn load_balance(
    connection: &mut PgConnection,
    user_id: i64,
    earned_until: DateTime<Utc>,
) -> sqlx::Result<WalletBalance> {
    let mut balances = load_balances(connection, &[user_id], earned_until).await?;
    Ok(balances.remove(&user_id).unwrap_or_default())
}

/// Loads the balances of people, as [`load_balance`] does; a person without a wallet is left out.
pub async fn load_balances(
    connection: &mut PgConnection,
    user_ids: &[i64],
    earned_until: DateTime<Utc>,
) -> sqlx::Result<HashMap<i64, WalletBalance>> {
    let rows: Vec<BalanceRow> = sqlx::query_as(concat!(
        "SELECT user_id, balance_coins,
                (withdrawable_money * 100)::bigint AS withdrawable_paise,
                LEAST((withdrawable_money * 100)::bigint, ",
        held_paise!("w.user_id"),
        ") AS held_paise,
                (total_earned * 100)::bigint AS total_earned_paise,
                LEAST(bonus_coins, balance_coins) AS bonus_coins,
                (total_withdrawn * 100)::bigint AS total_withdrawn_paise,
                (pending_withdrawals * 100)::bigint AS pending_withdrawals_paise
         FROM wallet.user_wallets AS w WHERE user_id = ANY($1)"
    ))
    .bind(user_ids)
    .bind(earned_until)
    .fetch_all(connection)
    .await?;
    let balances = rows.into_iter().map(|row| (row.user_id, row.balance));
    Ok(balances.collect())
}

/// The coins of a user.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct CoinWallet {
    pub user_id: i64,
    pub balance_coins: i64,
}

/// Lists the coins of users; those without a wallet are left out.
pub async fn list_coins(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<CoinWallet>> {
    sqlx::query_as("SELECT user_id, balance_coins FROM wallet.user_wallets WHERE user_id = ANY($1)")
        .bind(user_ids)
        .fetch_all(connection)
        .await
}

/// Increments the version of a wallet for an event that belongs to no transfer.
pub async fn increment_version(
    tx: &mut PgConnection,
    user_id: i64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let result = sqlx::query(
        "UPDATE wallet.user_wallets SET version = version + 1, updated_at = $2 WHERE user_id = $1",
    )
    .bind(user_id)
    .bind(now)
    .execute(tx)
    .await?;
    expect_rows(&result, 1, "wallet.user_wallets", user_id)
}

/// Deletes a person's wallet and its history. The journal, the end of the chain, the debt, undecided withdrawals, and
/// orders that were paid stay: a payment may go back later. `wallet` is the locked wallet, if the person has one.
pub async fn close_wallet(
    tx: &mut PgConnection,
    user_id: i64,
    wallet: Option<&LockedWallet>,
    phone_hash: &[u8],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let chain = wallet.map(|wallet| wallet.chain).unwrap_or_default();
    // Two deletions of a person without a wallet may run at the same time; the first one inserts the row.
    sqlx::query(
        "INSERT INTO wallet.closed_wallets
             (owner_id, chain_length, chain_hash, debt_coins, closed_at, phone_hash)
         SELECT $1, $2, $3, $4, $5,
                CASE WHEN $4 > 0 OR EXISTS (SELECT FROM wallet.payment_orders
                                            WHERE user_id = $1 AND transaction_id IS NOT NULL)
                     THEN NULLIF($6, ''::bytea) END
         ON CONFLICT (owner_id) DO NOTHING",
    )
    .bind(user_id)
    .bind(chain.length)
    .bind(chain.hash)
    .bind(wallet.map_or(0, |wallet| wallet.debt_coins))
    .bind(now)
    .bind(phone_hash)
    .execute(&mut *tx)
    .await?;
    for statement in [
        "DELETE FROM wallet.user_withdrawals
         WHERE user_id = $1 AND status NOT IN ('pending', 'processing')",
        "DELETE FROM wallet.payment_orders WHERE user_id = $1 AND transaction_id IS NULL",
        "UPDATE wallet.payment_orders SET payment_method = NULL WHERE user_id = $1",
        "DELETE FROM wallet.call_earnings WHERE listener_id = $1",
        "DELETE FROM wallet.disputed_earnings WHERE listener_id = $1",
    ] {
        sqlx::query(statement)
            .bind(user_id)
            .execute(&mut *tx)
            .await?;
    }
    let deleted = sqlx::query("DELETE FROM wallet.user_wallets WHERE user_id = $1")
        .bind(user_id)
        .execute(tx)
        .await?;
    if wallet.is_some() {
        expect_rows(&deleted, 1, "wallet.user_wallets", user_id)?;
    }
    Ok(())
}

/// Whether this person has an open wallet.
pub async fn is_open(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM wallet.user_wallets WHERE user_id = $1)")
        .bind(user_id)
        .fetch_one(connection)
        .await
}
