//! `calls.relay_nodes`: the relays, and when the agent beside each reported last.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::PgConnection;

/// A relay.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct RelayNode {
    /// TURN realm, which no other relay has.
    pub realm: String,
    /// Addresses at which apps reach the relay.
    pub urls: Vec<String>,
    /// Whether it is about to stop, so that no more calls are to be sent to it.
    pub is_draining: bool,
}

/// Stores a relay and the moment of its report.
pub async fn upsert(tx: &mut PgConnection, node: &RelayNode) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO calls.relay_nodes (realm, urls, is_draining, reported_at)
         VALUES ($1, $2, $3, now())
         ON CONFLICT (realm) DO UPDATE
         SET urls = excluded.urls, is_draining = excluded.is_draining, reported_at = excluded.reported_at",
    )
    .bind(&node.realm)
    .bind(&node.urls)
    .bind(node.is_draining)
    .execute(tx)
    .await?;
    Ok(())
}

/// Lists the relays that have reported within some seconds, by realm.
pub async fn list_reporting(
    connection: &mut PgConnection,
    within_secs: f64,
) -> sqlx::Result<Vec<RelayNode>> {
    sqlx::query_as(
        "SELECT realm, urls, is_draining FROM calls.relay_nodes
         WHERE reported_at > now() - make_interval(secs => $1) ORDER BY realm",
    )
    .bind(within_secs)
    .fetch_all(connection)
    .await
}

/// Returns when the first of these relays that have not reported within some seconds reported last; `None` if all of
/// them report.
pub async fn find_silent_since(
    connection: &mut PgConnection,
    realms: &[String],
    within_secs: f64,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar(
        "SELECT min(reported_at) FROM calls.relay_nodes
         WHERE realm = ANY($1) AND reported_at <= now() - make_interval(secs => $2)",
    )
    .bind(realms)
    .bind(within_secs)
    .fetch_one(connection)
    .await
}
