//! Makes the schema of a service safe after Postgres was restored to a moment of the past.
//!
//! A restored database has forgotten what happened after that moment, but tokens, sessions, events and the
//! payment provider have not. Above all, its sequences would give ids again that others still use for somebody
//! else. [`make_safe`] does what every service needs; auth and the wallet do more in their own `restored`.
//! `docs/runbooks/restore.md` describes the whole procedure.
//!
//! Every step may be repeated and may be interrupted anywhere: the command is simply run again.

mod ids;
mod lost_events;
mod running;

use anyhow::Context;
use async_nats::jetstream::{self, stream::Stream};
use secrecy::ExposeSecret;
use talktime_proto::events::STREAM_NAME;

use crate::config::ServiceConfig;
use crate::db::{self, DatabaseSchema, PgConnection};
use crate::failpoint;
use crate::messaging::{self, outbox};

/// Makes the schema safe and prints what was lost.
///
/// - Refuses to run beside a process that still uses this database or the stream of events.
/// - Prints the events in the stream whose transactions were undone.
/// - Advances every sequence beyond any id that was ever given.
/// - Marks recent events as unpublished, so that they fill the next stream.
///
/// # Errors
/// A process still runs, a store does not answer in time, or the clock of Postgres is wrong.
pub async fn make_safe(schema: DatabaseSchema, config: &ServiceConfig) -> anyhow::Result<()> {
    let mut owner = connect_owner(config).await?;
    running::wait_until_disconnected(&mut owner).await?;
    let stream = open_stream(config).await?;
    running::wait_until_nothing_consumes(&stream).await?;
    let pool = db::pool(schema, &config.database)?;
    let highest_id = lost_events::print_lost(&stream, &pool, schema.name).await?;
    failpoint::reach("kit.restored.listed");
    ids::advance_sequences(&mut owner, schema.name, highest_id).await?;
    failpoint::reach("kit.restored.advanced");
    let events = outbox::mark_recent_unpublished(&pool).await?;
    println!("{}: {events} events will be published again", schema.name);
    Ok(owner.close().await?)
}

/// Replaces the stream of events, which contains those of undone transactions, by an empty one. Services fill it from
/// their outboxes when they start.
///
/// # Errors
/// A process still consumes events, NATS does not answer in time, or the user is no operator.
pub async fn replace_stream(config: &ServiceConfig) -> anyhow::Result<()> {
    let jetstream = open_jetstream(config).await?;
    let stream = messaging::ensure_stream(&jetstream).await?;
    running::wait_until_nothing_consumes(&stream).await?;
    let settings = stream.cached_info().config.clone();
    jetstream.delete_stream(STREAM_NAME).await?;
    // An interruption at this point leaves no stream. The next attempt creates one on a single server, which the Job
    // `nats-stream` completes (docs/runbooks/restore.md).
    jetstream.create_stream(settings).await?;
    println!("the stream of events is empty");
    Ok(())
}

async fn connect_owner(config: &ServiceConfig) -> anyhow::Result<PgConnection> {
    let url = config.database.owner_url.expose_secret();
    let options = url.parse().context("database.owner_url")?;
    let connection = PgConnection::open(&options).await;
    connection.context("connecting as the schema's owner")
}

/// Opens the stream; creates an empty one if it was lost, so that the steps need not distinguish.
async fn open_stream(config: &ServiceConfig) -> anyhow::Result<Stream> {
    messaging::ensure_stream(&open_jetstream(config).await?).await
}

async fn open_jetstream(config: &ServiceConfig) -> anyhow::Result<jetstream::Context> {
    let nats = messaging::connect_as_operator(&config.nats).await?;
    Ok(messaging::open_jetstream(nats))
}
