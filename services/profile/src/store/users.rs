//! `profile.users`: one row a person.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use crate::domain::{Conflicts, Registration, User};

/// The unique index over user names without regard to case.
pub const USERNAME_INDEX: &str = "users_username_key";

/// `SELECT` of whole users with their active roles, and the rest of the statement.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT user_id, phone, username, sex, dob, bio, interests, profile_image_url,
                    preferred_language, (rating * 100)::integer AS rating_hundredths, country,
                    ARRAY(SELECT role FROM profile.user_roles AS r
                          WHERE r.user_id = u.user_id AND r.active ORDER BY role) AS roles,
                    version, created_at, updated_at
             FROM profile.users AS u ",
            $rest
        )
    };
}

/// Makes a user, and answers their id; `None` when somebody has the phone, the name or the
/// registration's id. A second registration at the same moment waits for the first one's commit.
pub async fn insert(
    tx: &mut PgConnection,
    registration: &Registration,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "INSERT INTO profile.users
             (username, phone, sex, dob, bio, interests, profile_image_url, preferred_language,
              registration_id, registration_hash, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
         ON CONFLICT DO NOTHING
         RETURNING user_id",
    )
    .bind(&registration.username)
    .bind(&registration.phone)
    .bind(registration.sex.name())
    .bind(registration.dob)
    .bind(&registration.bio)
    .bind(&registration.interests)
    .bind(&registration.profile_image_url)
    .bind(&registration.preferred_language)
    .bind(&registration.registration_id)
    .bind(registration.content_hash())
    .bind(now)
    .fetch_optional(tx)
    .await
}

/// What stood in the way of an insert.
pub async fn conflicts(
    tx: &mut PgConnection,
    registration: &Registration,
) -> sqlx::Result<Conflicts> {
    sqlx::query_as(
        "SELECT (SELECT user_id FROM profile.users
                 WHERE registration_id = $1 AND registration_hash = $2) AS made_user_id,
                EXISTS (SELECT FROM profile.users WHERE phone = $3) AS is_phone_taken,
                EXISTS (SELECT FROM profile.users
                        WHERE lower(username) = lower($4)) AS is_username_taken",
    )
    .bind(&registration.registration_id)
    .bind(registration.content_hash())
    .bind(&registration.phone)
    .bind(&registration.username)
    .fetch_one(tx)
    .await
}

/// A user by id.
pub async fn find(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<User>> {
    sqlx::query_as(select!("WHERE user_id = $1"))
        .bind(user_id)
        .fetch_optional(connection)
        .await
}

/// Whether there is such a user.
pub async fn exists(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM profile.users WHERE user_id = $1)")
        .bind(user_id)
        .fetch_one(connection)
        .await
}

/// A user by phone.
pub async fn find_by_phone(
    connection: &mut PgConnection,
    phone: &str,
) -> sqlx::Result<Option<User>> {
    sqlx::query_as(select!("WHERE phone = $1"))
        .bind(phone)
        .fetch_optional(connection)
        .await
}

/// Names of users by id.
pub async fn names(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<(i64, String)>> {
    sqlx::query_as("SELECT user_id, username FROM profile.users WHERE user_id = ANY($1)")
        .bind(user_ids)
        .fetch_all(connection)
        .await
}

/// A user by id, locked until the transaction ends.
pub async fn lock(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<User>> {
    sqlx::query_as(select!("WHERE user_id = $1 FOR NO KEY UPDATE OF u"))
        .bind(user_id)
        .fetch_optional(tx)
        .await
}

/// Makes transactions that write events of a user wait for each other, so that the events are numbered in
/// the order of their commits. Nothing is locked where there is no such user.
pub async fn take_turns(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("SELECT FROM profile.users WHERE user_id = $1 FOR NO KEY UPDATE")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Writes a locked user back. A violation of [`USERNAME_INDEX`] says that somebody has the name.
pub async fn save(tx: &mut PgConnection, user: &User) -> sqlx::Result<()> {
    let saved = sqlx::query(
        "UPDATE profile.users
         SET username = $2, bio = $3, interests = $4, profile_image_url = $5,
             preferred_language = $6, country = $7, rating = $8::numeric / 100, version = $9,
             updated_at = $10
         WHERE user_id = $1",
    )
    .bind(user.user_id)
    .bind(&user.username)
    .bind(&user.bio)
    .bind(&user.interests)
    .bind(&user.profile_image_url)
    .bind(&user.preferred_language)
    .bind(&user.country)
    .bind(user.rating_hundredths)
    .bind(user.version)
    .bind(user.updated_at)
    .execute(tx)
    .await?;
    match saved.rows_affected() {
        1 => Ok(()),
        _ => Err(sqlx::Error::RowNotFound),
    }
}

/// Counts a change of a user that is in none of their fields; answers its version.
pub async fn next_version(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "UPDATE profile.users SET version = version + 1 WHERE user_id = $1 RETURNING version",
    )
    .bind(user_id)
    .fetch_one(tx)
    .await
}

/// What is left to do for a user whose rows were deleted.
#[derive(Clone, Debug, FromRow)]
pub struct DeletedUser {
    /// The last version of the user.
    pub version: i64,
    /// The registration that made the user; `None` for those who came in another way.
    pub registration_id: Option<String>,
}

/// Deletes a user, and with them their rows in every other table of this schema; `None` when there is
/// no such user.
pub async fn delete(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<DeletedUser>> {
    sqlx::query_as(
        "DELETE FROM profile.users WHERE user_id = $1 RETURNING version, registration_id",
    )
    .bind(user_id)
    .fetch_optional(tx)
    .await
}

/// Sets a listener's rating to the mean of so many, unless what is held is made of as many or more.
pub async fn set_rating(
    tx: &mut PgConnection,
    user_id: i64,
    stars_total: i64,
    ratings_total: i64,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE profile.users
         SET rating = round($2::numeric / $3::numeric, 2), ratings_total = $3
         WHERE user_id = $1 AND ratings_total < $3",
    )
    .bind(user_id)
    .bind(stars_total)
    .bind(ratings_total)
    .execute(tx)
    .await?;
    Ok(())
}
