//! Messages that could not be handled are stored with the reason, and an operator can replay them.

use crate::db::DatabasePool;
use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use sqlx::FromRow;

use super::message::DeliveredMessage;
use super::{HEADER_ID, open_jetstream};
use crate::operator::record_action;
use crate::trace::TRACEPARENT;

#[derive(FromRow)]
struct DeadLetterRow {
    message_id: String,
    subject: String,
    payload: Vec<u8>,
    traceparent: Option<String>,
}

/// Inserts a message with the reason of its failure. Inserting the same message again replaces the reason.
pub(super) async fn insert(
    db: &DatabasePool,
    consumer: &str,
    message: &DeliveredMessage,
    reason: &str,
) -> sqlx::Result<()> {
    let mut tx = db.begin().await?;
    sqlx::query(
        "INSERT INTO dead_letters (consumer, message_id, subject, payload, traceparent, error)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (consumer, message_id)
         DO UPDATE SET error = excluded.error, died_at = now(), replayed_at = NULL",
    )
    .bind(consumer)
    .bind(&message.id)
    .bind(&message.subject)
    .bind(&message.payload[..])
    .bind(&message.traceparent)
    .bind(reason)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    metrics::counter!("dead_letters_total", "consumer" => consumer.to_owned()).increment(1);
    Ok(())
}

/// Lists the dead letters that were not replayed, one line each, oldest first, at most 1000.
///
/// # Errors
/// The database does not answer.
pub async fn list(db: &DatabasePool) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT format('%s  %s  %s  %s  %s  %s', dead_letter_id, died_at, consumer, message_id, subject, error)
         FROM dead_letters WHERE replayed_at IS NULL ORDER BY dead_letter_id LIMIT 1000",
    )
    .fetch_all(&mut *db.acquire().await?)
    .await
}

/// Publishes a dead letter again. It keeps its event id, so that consumers that have handled it ignore it.
/// Only the message id of JetStream is new, since the stream would drop a recent one as a duplicate. The operator is
/// recorded with the mark on the row, before the publication.
///
/// # Errors
/// There is no such dead letter, or the database or NATS does not answer.
pub async fn replay(
    db: &DatabasePool,
    nats: &async_nats::Client,
    dead_letter_id: i64,
    operator: &str,
) -> anyhow::Result<()> {
    let mut tx = db.begin().await?;
    let letter: DeadLetterRow = sqlx::query_as(
        "UPDATE dead_letters SET replayed_at = now() WHERE dead_letter_id = $1
         RETURNING message_id, subject, payload, traceparent",
    )
    .bind(dead_letter_id)
    .fetch_optional(&mut *tx)
    .await?
    .ok_or_else(|| anyhow::anyhow!("there is no dead letter {dead_letter_id}"))?;
    let command = format!("dead-letters replay {dead_letter_id}");
    record_action(&mut tx, operator, &command).await?;
    tx.commit().await?;
    let mut headers = HeaderMap::new();
    let attempt_id = format!("{}-replay-{}", letter.message_id, uuid::Uuid::now_v7());
    headers.insert(NATS_MESSAGE_ID, attempt_id.as_str());
    headers.insert(HEADER_ID, letter.message_id.as_str());
    if let Some(traceparent) = &letter.traceparent {
        headers.insert(TRACEPARENT, traceparent.as_str());
    }
    open_jetstream(nats.clone())
        .publish_with_headers(letter.subject, headers, letter.payload.into())
        .await?
        .await?;
    Ok(())
}
