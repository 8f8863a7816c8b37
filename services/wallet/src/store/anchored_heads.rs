//! The ends of chains, for anchors and against them.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::{PgConnection, column};

use crate::domain::anchor::AnchoredHead;
use crate::domain::chain::{ChainHead, ChainLinkHash};

#[derive(FromRow)]
struct ChainHeadRow {
    owner_id: i64,
    length: i64,
    hash: ChainLinkHash,
}

/// Lists the ends of the chains that have grown since an instant, those of deleted accounts among them.
pub async fn list_since(
    connection: &mut PgConnection,
    since: DateTime<Utc>,
) -> sqlx::Result<Vec<AnchoredHead>> {
    let rows: Vec<ChainHeadRow> = sqlx::query_as(
        "SELECT user_id AS owner_id, chain_length AS length, chain_hash AS hash
         FROM wallet.user_wallets AS w
         WHERE chain_length > 0 AND updated_at >= $1
           AND NOT EXISTS (SELECT FROM wallet.closed_wallets WHERE owner_id = w.user_id)
         UNION ALL
         SELECT owner_id, chain_length, closed.chain_hash
         FROM wallet.closed_wallets AS closed JOIN wallet.transfers AS last USING (owner_id)
         WHERE last.chain_position = closed.chain_length AND last.created_at >= $1
         ORDER BY owner_id",
    )
    .bind(since)
    .fetch_all(connection)
    .await?;
    let heads = rows.into_iter().map(|row| {
        let head = ChainHead {
            length: row.length,
            hash: row.hash,
        };
        AnchoredHead::new(row.owner_id, head)
    });
    Ok(heads.collect())
}

/// Finds the owners whose chains have another link, or none, where these heads were.
pub async fn find_rewritten(
    connection: &mut PgConnection,
    heads: &[AnchoredHead],
) -> sqlx::Result<Vec<i64>> {
    sqlx::query_scalar(
        "SELECT anchored.owner_id
         FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS anchored (owner_id, length, hash)
         LEFT JOIN wallet.transfers AS link
           ON link.owner_id = anchored.owner_id AND link.chain_position = anchored.length
         WHERE encode(link.chain_hash, 'hex') IS DISTINCT FROM anchored.hash
         ORDER BY anchored.owner_id",
    )
    .bind(column(heads, |head| head.owner_id))
    .bind(column(heads, |head| head.length))
    .bind(column(heads, |head| head.hash.as_str()))
    .fetch_all(connection)
    .await
}
