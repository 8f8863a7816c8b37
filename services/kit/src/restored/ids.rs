//! Advances the sequences of a schema beyond every id that anybody may remember.

use anyhow::ensure;
use sqlx::FromRow;

use crate::db::PgConnection;

/// The instant from which [`IDS_PER_SEC`] counts: before the first id was given (1 January 2025, UTC), in
/// seconds since 1970.
const COUNTED_FROM: i64 = 1_735_689_600;
/// A sequence is advanced to as many ids for each second since [`COUNTED_FROM`].
///
/// No sequence grows that fast on average, so every id that was ever given, before the restored moment, after it,
/// and after any earlier restore, is lower than the one that this instant yields. Neither Redis nor NATS has to
/// be asked for the highest id, and restoring twice to the same moment yields different ids. The ids stay below
/// 2^53, which every JSON parser reads exactly, for more than two thousand years.
const IDS_PER_SEC: i64 = 100_000;

#[derive(FromRow)]
struct SequenceState {
    name: String,
    last_id: i64,
}

/// Advances all sequences of the schema and prints each. `highest_id` is the highest outbox id that the stream
/// names: one that is not lower shows that the clock is wrong.
pub(super) async fn advance_sequences(
    owner: &mut PgConnection,
    schema: &str,
    highest_id: i64,
) -> anyhow::Result<()> {
    let first_id = compute_first_id(owner).await?;
    ensure!(
        highest_id < first_id,
        "the stream names event {highest_id}, but the clock of Postgres only yields {first_id}: set the clock"
    );
    let sequences = list_sequences(owner, schema).await?;
    for SequenceState { name, last_id } in &sequences {
        ensure!(
            *last_id < first_id,
            "{schema}.{name} is at {last_id}, but the clock of Postgres only yields {first_id}: set the clock"
        );
    }
    for SequenceState { name, last_id } in sequences {
        set_sequence(owner, schema, &name, first_id).await?;
        println!("{schema}.{name}: {last_id} -> {first_id}");
    }
    Ok(())
}

/// The clock of the database counts, because all replicas and all restores share it.
async fn compute_first_id(owner: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT ((extract(epoch FROM clock_timestamp()) - $1) * $2)::bigint")
        .bind(COUNTED_FROM)
        .bind(IDS_PER_SEC)
        .fetch_one(owner)
        .await
}

async fn list_sequences(
    owner: &mut PgConnection,
    schema: &str,
) -> sqlx::Result<Vec<SequenceState>> {
    sqlx::query_as(
        "SELECT sequencename::text AS name, COALESCE(last_value, 0) AS last_id
         FROM pg_sequences WHERE schemaname = $1 ORDER BY sequencename",
    )
    .bind(schema)
    .fetch_all(owner)
    .await
}

async fn set_sequence(
    owner: &mut PgConnection,
    schema: &str,
    name: &str,
    id: i64,
) -> sqlx::Result<()> {
    sqlx::query("SELECT setval(format('%I.%I', $1, $2)::regclass, $3)")
        .bind(schema)
        .bind(name)
        .bind(id)
        .execute(owner)
        .await?;
    Ok(())
}
