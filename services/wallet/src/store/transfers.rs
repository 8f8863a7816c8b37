//! `wallet.transfers`: what was done under which id.

use std::collections::HashMap;

use sqlx::FromRow;
use talktime_kit::db::PgConnection;

use crate::domain::charging::PastTransfer;
use crate::domain::settlement::ChargedMinute;

/// A transfer with the amounts that its first request was answered with.
#[derive(Clone, Debug, FromRow)]
pub struct TransferRecord {
    /// The meaning of its id in words.
    pub content: String,
    /// Coins that moved.
    pub coins: i64,
    /// The part of them that moved to or from an account of bonus coins.
    pub bonus_coins: i64,
    /// Paise that moved.
    pub paise: i64,
    /// The payer's coins right after it.
    pub balance_coins: i64,
}

#[derive(FromRow)]
struct PastTransferRow {
    transfer_id: String,
    content: String,
    balance_coins: i64,
    bonus_coins: i64,
    transaction_id: Option<i64>,
}

/// Finds the transfers with these ids, each with the transaction that it made. All rows of a transfer have one time,
/// which leads to the month that has the transaction.
pub async fn find_past(
    tx: &mut PgConnection,
    transfer_ids: &[String],
) -> sqlx::Result<HashMap<String, PastTransfer>> {
    let rows: Vec<PastTransferRow> = sqlx::query_as(
        "SELECT transfer.transfer_id, transfer.content, transfer.balance_coins, transfer.bonus_coins,
                min(transaction.transaction_id) AS transaction_id
         FROM wallet.transfers AS transfer
         LEFT JOIN wallet.user_transactions AS transaction USING (transfer_id, created_at)
         WHERE transfer.transfer_id = ANY($1)
         GROUP BY transfer.transfer_id",
    )
    .bind(transfer_ids)
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let past = PastTransfer {
                content: row.content,
                balance_coins: row.balance_coins,
                bonus_coins: row.bonus_coins,
                transaction_id: row.transaction_id,
            };
            (row.transfer_id, past)
        })
        .collect())
}

/// Finds the transfer with this id.
pub async fn find(
    tx: &mut PgConnection,
    transfer_id: &str,
) -> sqlx::Result<Option<TransferRecord>> {
    sqlx::query_as(
        "SELECT content, coins, bonus_coins, paise, balance_coins FROM wallet.transfers
         WHERE transfer_id = $1",
    )
    .bind(transfer_id)
    .fetch_optional(tx)
    .await
}

/// Finds the owner of the wallet that a transfer changed; none if the transfer does not exist.
pub async fn find_owner(tx: &mut PgConnection, transfer_id: &str) -> sqlx::Result<Option<i64>> {
    let owner: Option<Option<i64>> =
        sqlx::query_scalar("SELECT owner_id FROM wallet.transfers WHERE transfer_id = $1")
            .bind(transfer_id)
            .fetch_optional(tx)
            .await?;
    Ok(owner.flatten())
}

/// The transfers of calls that a settlement depends on.
#[derive(Debug, Default)]
pub struct CallTransfers {
    /// The settlements, by transfer id.
    pub settlements: HashMap<String, TransferRecord>,
    /// Every minute that was charged and not voided, by call and in ascending order.
    pub charged: HashMap<i64, Vec<ChargedMinute>>,
}

#[derive(FromRow)]
struct CallTransferRow {
    call_id: i64,
    transfer_id: String,
    /// The minute of a charge; none for a settlement.
    minute: Option<i32>,
    #[sqlx(flatten)]
    transfer: TransferRecord,
}

/// Finds the settlements of these calls, which nothing voids, and the minutes that were charged and not voided.
pub async fn find_of_calls(tx: &mut PgConnection, call_ids: &[i64]) -> sqlx::Result<CallTransfers> {
    let rows: Vec<CallTransferRow> = sqlx::query_as(
        "SELECT call_id, transfer_id, content, coins, bonus_coins, paise, balance_coins,
                CASE kind WHEN 'charge' THEN split_part(transfer_id, '/', 4)::integer END AS minute
         FROM wallet.transfers AS made
         WHERE call_id = ANY($1) AND kind IN ('charge', 'settlement') AND NOT EXISTS
               (SELECT FROM wallet.transfers AS undone
                WHERE undone.transfer_id = made.transfer_id || '/void')
         ORDER BY minute",
    )
    .bind(call_ids)
    .fetch_all(tx)
    .await?;
    let mut found = CallTransfers::default();
    for row in rows {
        let Some(minute) = row.minute else {
            found.settlements.insert(row.transfer_id, row.transfer);
            continue;
        };
        let charged = ChargedMinute {
            minute,
            coins: row.transfer.coins,
            bonus_coins: row.transfer.bonus_coins,
        };
        found.charged.entry(row.call_id).or_default().push(charged);
    }
    Ok(found)
}
