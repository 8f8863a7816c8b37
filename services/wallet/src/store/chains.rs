//! Verifying the chains of all wallets, which reveals changes that were made behind the service's back.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

use crate::domain::chain::{ChainHead, ChainLink, ChainLinkHash, JournalRow};

/// Broken chains that are named, at most; one is enough to look for more.
const BROKEN_MAX: usize = 100;

/// A transfer as the store has it, with the end that its owner's chain should have.
#[derive(FromRow)]
struct ChainedTransferRow {
    owner_id: i64,
    chain_position: i64,
    chain_hash: ChainLinkHash,
    transfer_id: String,
    kind: String,
    content: String,
    call_id: Option<i64>,
    coins: i64,
    paise: i64,
    balance_coins: i64,
    created_at: DateTime<Utc>,
    ledgers: Vec<String>,
    debits: Vec<String>,
    credits: Vec<String>,
    amounts: Vec<i64>,
}

/// A chain on which a link does not follow from those before it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BrokenWalletChain {
    pub owner_id: i64,
    /// The first link whose hash is wrong.
    pub transfer_id: String,
}

impl ChainedTransferRow {
    fn link(&self) -> ChainLink<'_> {
        let movements = (0..self.amounts.len()).map(|n| JournalRow {
            ledger: &self.ledgers[n],
            debit: &self.debits[n],
            credit: &self.credits[n],
            amount: self.amounts[n],
        });
        ChainLink {
            transfer_id: &self.transfer_id,
            kind: &self.kind,
            content: &self.content,
            call_id: self.call_id,
            coins: self.coins,
            paise: self.paise,
            balance_coins: self.balance_coins,
            created_at: self.created_at,
            movements: movements.collect(),
        }
    }
}

/// Walks every chain from its beginning, one row in memory at a time. Of each chain only the first wrong link
/// is named: later ones are compared with the hash that it has. The journal is read by the time of the transfer,
/// which leads to the month that has its rows.
pub async fn find_broken_chains(
    connection: &mut PgConnection,
) -> sqlx::Result<Vec<BrokenWalletChain>> {
    let mut rows = sqlx::query_as::<_, ChainedTransferRow>(
        "SELECT t.owner_id, t.chain_position, t.chain_hash, t.transfer_id, t.kind, t.content,
                t.call_id, t.coins, t.paise, t.balance_coins, t.created_at,
                moved.ledgers, moved.debits, moved.credits, moved.amounts
         FROM wallet.transfers AS t
         CROSS JOIN LATERAL (
             SELECT COALESCE(array_agg(ledger), '{}') AS ledgers,
                    COALESCE(array_agg(debit_account), '{}') AS debits,
                    COALESCE(array_agg(credit_account), '{}') AS credits,
                    COALESCE(array_agg(amount), '{}') AS amounts
             FROM wallet.journal
             WHERE journal.transfer_id = t.transfer_id AND journal.created_at = t.created_at
         ) AS moved
         WHERE t.owner_id IS NOT NULL
         ORDER BY t.owner_id, t.chain_position",
    )
    .fetch(connection);
    let mut broken: Vec<BrokenWalletChain> = Vec::new();
    let mut owner_id = 0;
    let mut head = ChainHead::default();
    while let Some(stored) = rows.try_next().await? {
        if stored.owner_id != owner_id {
            owner_id = stored.owner_id;
            head = ChainHead::default();
        }
        let next = head.append_link(&stored.link());
        let is_intact = (next.length, next.hash) == (stored.chain_position, stored.chain_hash);
        let is_first = broken.last().is_none_or(|last| last.owner_id != owner_id);
        if !is_intact && is_first && broken.len() < BROKEN_MAX {
            broken.push(BrokenWalletChain {
                owner_id,
                transfer_id: stored.transfer_id.clone(),
            });
        }
        head = ChainHead {
            length: stored.chain_position,
            hash: stored.chain_hash,
        };
    }
    Ok(broken)
}

/// Finds people whose wallet has stored another end than their chain has: links at the end are missing or were
/// added.
pub async fn find_cut_chains(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "WITH head AS (
             SELECT user_id AS owner_id, chain_length, chain_hash FROM wallet.user_wallets
             WHERE user_id NOT IN (SELECT owner_id FROM wallet.closed_wallets)
             UNION ALL
             SELECT owner_id, chain_length, chain_hash FROM wallet.closed_wallets
         ), tail AS (
             SELECT DISTINCT ON (owner_id) owner_id, chain_position, chain_hash
             FROM wallet.transfers WHERE owner_id IS NOT NULL
             ORDER BY owner_id, chain_position DESC
         )
         SELECT COALESCE(head.owner_id, tail.owner_id) AS owner_id
         FROM head FULL JOIN tail USING (owner_id)
         WHERE COALESCE(head.chain_length, 0) <> COALESCE(tail.chain_position, 0)
            OR (tail.owner_id IS NOT NULL AND head.chain_hash IS DISTINCT FROM tail.chain_hash)
         ORDER BY 1",
    )
    .fetch_all(connection)
    .await
}

/// Finds transfers without a place in a chain, except those made before chains existed, or by a release that ran
/// beside the first one with chains.
pub async fn find_unchained_transfers(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT transfer_id FROM wallet.transfers
         WHERE owner_id IS NULL AND created_at >
               (SELECT min(created_at) FROM wallet.transfers WHERE owner_id IS NOT NULL)
               + interval '1 day'
         ORDER BY transfer_id",
    )
    .fetch_all(connection)
    .await
}
