//! Answers kept by `Idempotency-Key`, in the schema and the transaction of the business operation
//! (contract, section 1): same key and body replays the first answer, another body is refused, a
//! request still running is a conflict.

use std::collections::HashSet;

use chrono::TimeDelta;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use crate::db::column;
use crate::error::{Error, Kind};

/// How long an answer is kept.
pub const KEPT: TimeDelta = TimeDelta::hours(24);

/// Longest key we take, in bytes.
pub const KEY_LENGTH_MAX: usize = 255;

/// One client's request as its key knows it.
#[derive(Clone, Debug)]
pub struct Request {
    user_id: i64,
    route: &'static str,
    key: String,
    body_hash: Vec<u8>,
}

/// What a key is found to be.
#[derive(Debug)]
pub enum Seen<Answer> {
    /// Never before: go on, then [`finish`] in the same transaction or a later one.
    First,
    /// The answer of the first request.
    Before(Answer),
}

impl Request {
    /// The client's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A request of `user_id` to `route` under `key`. `body` is what must be the same each time.
    pub fn new(
        user_id: i64,
        route: &'static str,
        key: String,
        body: &impl Serialize,
    ) -> Result<Self, Error> {
        if key.is_empty() || key.len() > KEY_LENGTH_MAX {
            return Err(Error::invalid(
                "invalid_idempotency_key",
                "The Idempotency-Key must be 1 to 255 characters long.",
            ));
        }
        let body = serde_json::to_vec(body).map_err(Error::internal)?;
        Ok(Self {
            user_id,
            route,
            key,
            body_hash: Sha256::digest(&body).to_vec(),
        })
    }
}

/// Claims the key, or finds what it answered. A rolled back transaction frees the key again; a
/// second request waits for the first one's transaction and then sees its answer.
pub async fn begin<Answer: DeserializeOwned>(
    tx: &mut PgConnection,
    request: &Request,
) -> Result<Seen<Answer>, Error> {
    let mut seen = begin_all(tx, &[request]).await?;
    seen.pop().unwrap_or_else(|| Err(still_running()))
}

/// The same for many keys, in their order, each with an answer or an error of its own. Of one key that
/// is there twice, the second finds the first one's request still running.
pub async fn begin_all<Answer: DeserializeOwned>(
    tx: &mut PgConnection,
    requests: &[&Request],
) -> Result<Vec<Result<Seen<Answer>, Error>>, Error> {
    let claimed: Vec<(i64, String, String)> = sqlx::query_as(
        "INSERT INTO idempotency_keys (user_id, route, key, body_hash)
         SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[])
                       AS request (user_id, route, key, body_hash)
         ORDER BY user_id, route, key
         ON CONFLICT (user_id, route, key) DO NOTHING
         RETURNING user_id, route, key",
    )
    .bind(column(requests, |request| request.user_id))
    .bind(column(requests, |request| request.route))
    .bind(column(requests, |request| request.key.as_str()))
    .bind(column(requests, |request| request.body_hash.as_slice()))
    .fetch_all(&mut *tx)
    .await?;
    let mut claimed: HashSet<(i64, String, String)> = claimed.into_iter().collect();
    let mut all = Vec::with_capacity(requests.len());
    for request in requests {
        let key = (
            request.user_id,
            request.route.to_owned(),
            request.key.clone(),
        );
        let seen = if claimed.remove(&key) {
            Ok(Seen::First)
        } else {
            let before = find(tx, request).await;
            before.and_then(|before| before.map(Seen::Before).ok_or_else(still_running))
        };
        all.push(seen);
    }
    Ok(all)
}

/// The answer that this request got before; none when its key is new. For looking before anything
/// else is asked: a replay must not depend on whether the request would still be allowed.
pub async fn find<Answer: DeserializeOwned>(
    connection: &mut PgConnection,
    request: &Request,
) -> Result<Option<Answer>, Error> {
    let kept: Option<(Vec<u8>, Option<serde_json::Value>)> = sqlx::query_as(
        "SELECT body_hash, answer FROM idempotency_keys
         WHERE user_id = $1 AND route = $2 AND key = $3",
    )
    .bind(request.user_id)
    .bind(request.route)
    .bind(&request.key)
    .fetch_optional(connection)
    .await?;
    let Some((body_hash, answer)) = kept else {
        return Ok(None);
    };
    if body_hash != request.body_hash {
        return Err(Error::new(
            Kind::Unprocessable,
            "idempotency_key_reused",
            "This Idempotency-Key was used for another request.",
        ));
    }
    let answer = answer.ok_or_else(still_running)?;
    serde_json::from_value(answer)
        .map(Some)
        .map_err(Error::internal)
}

fn still_running() -> Error {
    Error::new(
        Kind::Conflict,
        "idempotency_key_in_use",
        "A request with this Idempotency-Key is still running.",
    )
}

/// Keeps the answer for the key.
pub async fn finish(
    tx: &mut PgConnection,
    request: &Request,
    answer: &impl Serialize,
) -> Result<(), Error> {
    finish_all(tx, &[(request, answer)]).await
}

/// Keeps the answers for many keys.
pub async fn finish_all(
    tx: &mut PgConnection,
    finished: &[(&Request, &impl Serialize)],
) -> Result<(), Error> {
    if finished.is_empty() {
        return Ok(());
    }
    let answers = finished
        .iter()
        .map(|(_, answer)| serde_json::to_value(answer).map_err(Error::internal))
        .collect::<Result<Vec<_>, Error>>()?;
    let kept = sqlx::query(
        "UPDATE idempotency_keys AS k SET answer = finished.answer
         FROM unnest($1::bigint[], $2::text[], $3::text[], $4::jsonb[])
              AS finished (user_id, route, key, answer)
         WHERE k.user_id = finished.user_id AND k.route = finished.route AND k.key = finished.key",
    )
    .bind(column(finished, |(request, _)| request.user_id))
    .bind(column(finished, |(request, _)| request.route))
    .bind(column(finished, |(request, _)| request.key.as_str()))
    .bind(answers)
    .execute(tx)
    .await?;
    if kept.rows_affected() == finished.len() as u64 {
        Ok(())
    } else {
        Err(Error::internal(
            "an idempotency key was freed under its request",
        ))
    }
}

/// Frees a key whose request came to nothing, so that the client may try again.
pub async fn release(
    tx: &mut PgConnection,
    user_id: i64,
    route: &str,
    key: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "DELETE FROM idempotency_keys
         WHERE user_id = $1 AND route = $2 AND key = $3 AND answer IS NULL",
    )
    .bind(user_id)
    .bind(route)
    .bind(key)
    .execute(tx)
    .await?;
    Ok(())
}
