//! Stored answers by `Idempotency-Key`, in the schema and the transaction of the business operation
//! (contract, section 1). The same key and body replays the first answer, another body is refused, and a
//! request that is still running is a conflict.

use std::collections::HashSet;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::db::{PgConnection, column};
use crate::error::{Error, ErrorKind};

/// Longest accepted key, in bytes.
pub const KEY_LENGTH_MAX: usize = 255;

/// A request of a user with its idempotency key.
#[derive(Clone, Debug)]
pub struct KeyedRequest {
    user_id: i64,
    route: &'static str,
    key: String,
    body_hash: Vec<u8>,
}

/// Whether a key was used before.
#[derive(Debug)]
pub enum KeyClaimOutcome<Answer> {
    /// The key is new: execute the request, then call [`finish`] in the same transaction or a later one.
    First,
    /// The answer of the first request.
    Before(Answer),
}

impl KeyedRequest {
    /// Returns the key that the client chose.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns a request of `user_id` to `route` under `key`. `body` must be the same each time.
    ///
    /// # Errors
    /// `invalid_idempotency_key` if the key is empty or too long.
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

/// Claims the key, or finds its stored answer. A rollback frees the key again. A second request waits for the
/// transaction of the first one and then finds its answer.
///
/// # Errors
/// `idempotency_key_reused` if the key was used with another body, `idempotency_key_in_use` if its request
/// has no answer yet.
pub async fn begin<Answer: DeserializeOwned>(
    tx: &mut PgConnection,
    request: &KeyedRequest,
) -> Result<KeyClaimOutcome<Answer>, Error> {
    let mut seen = begin_all(tx, &[request]).await?;
    seen.pop().unwrap_or_else(|| Err(still_running()))
}

/// Claims several keys and returns a result for each of them, in order. If a key occurs twice, the second
/// occurrence finds the request of the first one still running.
///
/// # Errors
/// The database failed. Errors of single keys, as of [`begin`], are in the result.
pub async fn begin_all<Answer: DeserializeOwned>(
    tx: &mut PgConnection,
    requests: &[&KeyedRequest],
) -> Result<Vec<Result<KeyClaimOutcome<Answer>, Error>>, Error> {
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
            Ok(KeyClaimOutcome::First)
        } else {
            let before = find(tx, request).await;
            before.and_then(|before| {
                before
                    .map(KeyClaimOutcome::Before)
                    .ok_or_else(still_running)
            })
        };
        all.push(seen);
    }
    Ok(all)
}

/// Finds the stored answer of a request; `None` if its key is new. Call it before any check of the request,
/// since a replay must not depend on whether the request would still be allowed.
///
/// # Errors
/// As [`begin`].
pub async fn find<Answer: DeserializeOwned>(
    connection: &mut PgConnection,
    request: &KeyedRequest,
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
            ErrorKind::Unprocessable,
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
        ErrorKind::Conflict,
        "idempotency_key_in_use",
        "A request with this Idempotency-Key is still running.",
    )
}

/// Claims the key and stores the answer in one statement, for a request whose answer is known before it is executed. An
/// answer that the key has already stays.
///
/// # Errors
/// As [`begin`].
pub async fn record(
    tx: &mut PgConnection,
    request: &KeyedRequest,
    answer: &impl Serialize,
) -> Result<(), Error> {
    let answer = serde_json::to_value(answer).map_err(Error::internal)?;
    let recorded = sqlx::query(
        "INSERT INTO idempotency_keys (user_id, route, key, body_hash, answer)
         VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (user_id, route, key) DO NOTHING",
    )
    .bind(request.user_id)
    .bind(request.route)
    .bind(&request.key)
    .bind(&request.body_hash)
    .bind(answer)
    .execute(&mut *tx)
    .await?;
    if recorded.rows_affected() == 1 {
        return Ok(());
    }
    let before: Option<serde_json::Value> = find(tx, request).await?;
    before.map(drop).ok_or_else(still_running)
}

/// Stores the answer for the key.
///
/// # Errors
/// The key was freed in the meantime, or the database failed.
pub async fn finish(
    tx: &mut PgConnection,
    request: &KeyedRequest,
    answer: &impl Serialize,
) -> Result<(), Error> {
    finish_all(tx, &[(request, answer)]).await
}

/// Stores the answers for several keys.
///
/// # Errors
/// As [`finish`].
pub async fn finish_all(
    tx: &mut PgConnection,
    finished: &[(&KeyedRequest, &impl Serialize)],
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

/// Frees a key whose request had no effect, so that the client may try again.
///
/// # Errors
/// The database failed.
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
