//! Deletes rows that are no longer needed, in bounded batches.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;

use crate::db::DatabasePool;
use crate::lifecycle::ProcessLifecycle;
use crate::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

const PURGE_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("messaging.purge"),
    interval: Duration::from_mins(10),
    retry_after: Duration::from_mins(1),
    deadline: Duration::from_mins(5),
    first_turn: FirstTurnStart::AfterInterval,
};
const BATCH_ROWS: i64 = 5_000;

/// One statement per table: published events are deleted after a week, inbox rows when neither JetStream nor a
/// refill can deliver the event again, dead letters a week after a replay from which they have not returned, and answers
/// after 24 hours (contract, section 1).
const STATEMENTS: [&str; 4] = [
    "DELETE FROM outbox WHERE outbox_id IN (SELECT outbox_id FROM outbox
     WHERE published_at IS NOT NULL AND created_at < now() - interval '7 days' LIMIT $1)",
    "DELETE FROM inbox WHERE (consumer, message_id) IN (SELECT consumer, message_id FROM inbox
     WHERE received_at < now() - interval '8 days' LIMIT $1)",
    "DELETE FROM dead_letters WHERE dead_letter_id IN (SELECT dead_letter_id FROM dead_letters
     WHERE replayed_at < now() - interval '7 days' LIMIT $1)",
    "DELETE FROM idempotency_keys WHERE (user_id, route, key) IN
     (SELECT user_id, route, key FROM idempotency_keys
      WHERE created_at < now() - interval '24 hours' AND answer IS NOT NULL LIMIT $1)",
];

/// Purges every ten minutes until the process stops. Several replicas may purge at the same time.
pub fn start_purge(lifecycle: &ProcessLifecycle, db: DatabasePool) {
    periodic::start(lifecycle, PURGE_WORK, move || purge_tables(db.clone()));
}

/// Purges each table, even if another one fails.
async fn purge_tables(db: DatabasePool) -> anyhow::Result<NextTurnStart> {
    let mut outcome = Ok(NextTurnStart::AfterInterval);
    for statement in STATEMENTS {
        if let Err(error) = purge_table(&db, statement).await {
            outcome = Err(error).context("failed to purge old rows");
        }
    }
    outcome
}

async fn purge_table(db: &DatabasePool, statement: &'static str) -> sqlx::Result<()> {
    loop {
        let mut tx = db.begin().await?;
        let deleted = sqlx::query(statement)
            .bind(BATCH_ROWS)
            .execute(&mut *tx)
            .await?
            .rows_affected();
        tx.commit().await?;
        if deleted < BATCH_ROWS.unsigned_abs() {
            return Ok(());
        }
    }
}
