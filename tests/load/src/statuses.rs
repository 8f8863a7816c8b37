//! Inserts users by SQL, because signing up a hundred thousand would take too long, and changes their statuses
//! through presence.

use std::time::{Duration, Instant};

use sqlx::PgPool;
use talktime_proto::presence::v1::UpdateStatusRequest;
use talktime_proto::presence::v1::presence_service_client::PresenceServiceClient;
use tokio::time::sleep_until;
use tonic::transport::Channel;

use crate::stack::request_of;

/// First user id, far above those of registered users.
pub(crate) const FIRST: i64 = 3_000_000_000;
/// Number of possible waits in minutes, by which changes are distinguished.
pub(crate) const WAITS: i64 = 1_440;

/// Inserts listeners into profile and presence; every third one is online. The rows of the feed are written at once
/// instead of by the triggers of profile, which would take minutes for a million.
pub(crate) async fn seed_listeners(database: &PgPool, count: i64) -> anyhow::Result<()> {
    let mut tx = database.begin().await?;
    sqlx::query("SET LOCAL session_replication_role = replica")
        .execute(&mut *tx)
        .await?;
    for statement in [
        "INSERT INTO profile.users
             (user_id, username, phone, sex, dob, rating, interests, preferred_language)
         OVERRIDING SYSTEM VALUE
         SELECT id, 'bench_' || id, '+1' || id,
                CASE WHEN id % 10 < 5 THEN 'female' WHEN id % 10 < 9 THEN 'male' ELSE 'other' END,
                '1990-01-01', nullif(id * 7919 % 501, 0) / 100.0,
                ARRAY['topic ' || id * 31 % 200, 'hobby ' || id * 17 % 20],
                CASE WHEN id % 100 = 0 THEN 'ta' WHEN id % 3 = 0 THEN 'hi' ELSE 'en' END
         FROM generate_series($1::bigint, $1 + $2 - 1) AS id",
        "INSERT INTO profile.user_roles (user_id, role)
         SELECT id, 'listener' FROM generate_series($1::bigint, $1 + $2 - 1) AS id",
        "INSERT INTO profile.feed_listeners
             (user_id, is_online, last_seen, sex, rating_key, interests, preferred_language,
              username_key, changed_xid)
         SELECT user_id, user_id % 3 = 0, CASE WHEN user_id % 3 = 0 THEN now() END, sex,
                coalesce((rating * 100)::bigint, 0), interests, preferred_language,
                lower(username), pg_current_xact_id()
         FROM profile.users WHERE user_id >= $1 AND user_id < $1 + $2",
        "INSERT INTO presence.user_status
             (user_id, username, is_online, is_listener, last_seen, created_at, updated_at)
         SELECT id, 'bench_' || id, id % 3 = 0, true, now(), now(), now()
         FROM generate_series($1::bigint, $1 + $2 - 1) AS id",
    ] {
        sqlx::query(statement)
            .bind(FIRST)
            .bind(count)
            .execute(&mut *tx)
            .await?;
    }
    tx.commit().await?;
    // Otherwise the database does this work at some time during the measurement.
    sqlx::query(
        "VACUUM (ANALYZE) profile.users, profile.user_roles, profile.feed_listeners,
                          presence.user_status",
    )
    .execute(database)
    .await?;
    Ok(())
}

/// Changes a status; returns the time of the answer, which follows the commit.
pub(crate) async fn change_status(
    presence: &mut PresenceServiceClient<Channel>,
    user_id: i64,
    wait_time: i64,
) -> anyhow::Result<Instant> {
    let request = UpdateStatusRequest {
        user_id,
        is_online: Some(true),
        is_busy: Some(wait_time % 2 == 0),
        wait_time: Some(i32::try_from(wait_time)?),
        ..UpdateStatusRequest::default()
    };
    presence.update_status(request_of(user_id, request)).await?;
    Ok(Instant::now())
}

/// Calls `act` with 0, 1, 2, … at a rate, without waiting for previous calls.
pub(crate) async fn call_at_rate<F, Fut>(per_second: f64, duration: Duration, act: F) -> u64
where
    F: Fn(u64) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let started_at = Instant::now();
    let mut number = 0;
    loop {
        let due = started_at + Duration::from_secs_f64(number as f64 / per_second);
        if due >= started_at + duration {
            return number;
        }
        sleep_until(due.into()).await;
        tokio::spawn(act(number));
        number += 1;
    }
}
