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

/// Finds the transfers with these ids, by id.
pub async fn find_all(
    tx: &mut PgConnection,
    transfer_ids: &[String],
) -> sqlx::Result<HashMap<String, TransferRecord>> {
    let rows: Vec<(String, String, i64, i64, i64, i64)> = sqlx::query_as(
        "SELECT transfer_id, content, coins, bonus_coins, paise, balance_coins FROM wallet.transfers
         WHERE transfer_id = ANY($1)",
    )
    .bind(transfer_ids)
    .fetch_all(tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(
            |(transfer_id, content, coins, bonus_coins, paise, balance_coins)| {
                let transfer = TransferRecord {
                    content,
                    coins,
                    bonus_coins,
                    paise,
                    balance_coins,
                };
                (transfer_id, transfer)
            },
        )
        .collect())
}

/// Lists every minute of these calls that was charged and not voided, by call.
pub async fn list_charged_minutes(
    tx: &mut PgConnection,
    call_ids: &[i64],
) -> sqlx::Result<HashMap<i64, Vec<ChargedMinute>>> {
    let rows: Vec<(i64, i32, i64, i64)> = sqlx::query_as(
        "SELECT charge.call_id, split_part(charge.transfer_id, '/', 4)::integer AS minute,
                charge.coins, charge.bonus_coins
         FROM wallet.transfers AS charge
         WHERE charge.call_id = ANY($1) AND charge.kind = 'charge' AND NOT EXISTS
               (SELECT FROM wallet.transfers AS undone
                WHERE undone.transfer_id = charge.transfer_id || '/void')
         ORDER BY minute",
    )
    .bind(call_ids)
    .fetch_all(tx)
    .await?;
    let mut minutes: HashMap<i64, Vec<ChargedMinute>> = HashMap::new();
    for (call_id, minute, coins, bonus_coins) in rows {
        let charged = ChargedMinute {
            minute,
            coins,
            bonus_coins,
        };
        minutes.entry(call_id).or_default().push(charged);
    }
    Ok(minutes)
}
