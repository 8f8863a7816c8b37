//! `profile.users`: one row for each user.

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::db::{PgConnection, expect_rows, is_unique_violation};

use crate::domain::{
    ListenerPreferences, ProfileError, PublicProfile, RegistrationConflicts, RegistrationRequest,
    User, UserVisibility,
};

const TABLE: &str = "profile.users";
/// The unique index over user names without regard to case.
const USERNAME_INDEX: &str = "users_username_key";

/// `SELECT` of whole users with their active roles, and the rest of the statement.
macro_rules! select_users {
    ($rest:literal) => {
        concat!(
            "SELECT user_id, phone, username, sex, dob, bio, interests, profile_image_url,
                    preferred_language, (rating * 100)::integer AS rating_hundredths, country,
                    ARRAY(SELECT role FROM profile.user_roles AS r
                          WHERE r.user_id = u.user_id AND r.active ORDER BY role) AS roles,
                    terms_version, terms_accepted_at, version, created_at, updated_at
             FROM profile.users AS u ",
            $rest
        )
    };
}

/// Inserts a user and returns the id; `None` if the phone, the name or the id of the registration is taken. If
/// two registrations happen at the same time, the second waits for the commit of the first.
pub async fn insert(
    tx: &mut PgConnection,
    registration: &RegistrationRequest,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<i64>> {
    sqlx::query_scalar(
        "INSERT INTO profile.users
             (username, phone, sex, dob, bio, interests, profile_image_url, preferred_language,
              registration_id, registration_hash, created_at, updated_at, terms_version,
              terms_accepted_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11, $12::text,
                 CASE WHEN $12::text IS NOT NULL THEN $11 END)
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
    .bind(&registration.terms_version)
    .fetch_optional(tx)
    .await
}

/// Finds the rows that prevented an insert.
pub async fn find_conflicts(
    tx: &mut PgConnection,
    registration: &RegistrationRequest,
) -> sqlx::Result<RegistrationConflicts> {
    sqlx::query_as(
        "SELECT (SELECT user_id FROM profile.users
                 WHERE registration_id = $1 AND registration_hash = $2) AS created_user_id,
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

pub async fn find(connection: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<User>> {
    sqlx::query_as(select_users!("WHERE user_id = $1"))
        .bind(user_id)
        .fetch_optional(connection)
        .await
}

/// Refuses a user who does not exist.
pub async fn require_exists(
    connection: &mut PgConnection,
    user_id: i64,
) -> Result<(), ProfileError> {
    let exists: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM profile.users WHERE user_id = $1)")
            .bind(user_id)
            .fetch_one(connection)
            .await?;
    if exists {
        Ok(())
    } else {
        Err(ProfileError::UserNotFound)
    }
}

pub async fn find_by_phone(
    connection: &mut PgConnection,
    phone: &str,
) -> sqlx::Result<Option<User>> {
    sqlx::query_as(select_users!("WHERE phone = $1"))
        .bind(phone)
        .fetch_optional(connection)
        .await
}

/// The account of a phone, as a login needs it.
#[derive(Clone, Debug, FromRow)]
pub struct PhoneAccountRow {
    /// In E.164.
    pub phone: String,
    pub user_id: i64,
    pub username: String,
}

/// Finds the accounts of phones; phones without one are left out.
pub async fn find_accounts(
    connection: &mut PgConnection,
    phones: &[String],
) -> sqlx::Result<Vec<PhoneAccountRow>> {
    sqlx::query_as("SELECT phone, user_id, username FROM profile.users WHERE phone = ANY($1)")
        .bind(phones)
        .fetch_all(connection)
        .await
}

/// Lists the names of users by id; ids without a user are left out.
pub async fn list_usernames(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<(i64, String)>> {
    sqlx::query_as("SELECT user_id, username FROM profile.users WHERE user_id = ANY($1)")
        .bind(user_ids)
        .fetch_all(connection)
        .await
}

/// Lists the public profiles of users; ids without a user are left out.
pub async fn list_public_profiles(
    connection: &mut PgConnection,
    user_ids: &[i64],
) -> sqlx::Result<Vec<PublicProfile>> {
    sqlx::query_as(
        "SELECT user_id, username, profile_image_url, (rating * 100)::integer AS rating_hundredths
         FROM profile.users WHERE user_id = ANY($1)",
    )
    .bind(user_ids)
    .fetch_all(connection)
    .await
}

/// Returns the users among several whom no block hides from a viewer; ids without a user are left out.
pub async fn filter_visible(
    connection: &mut PgConnection,
    viewer_id: i64,
    user_ids: &[i64],
) -> sqlx::Result<Vec<UserVisibility>> {
    sqlx::query_as(
        "SELECT u.user_id,
                u.user_id = $1
                OR EXISTS (SELECT FROM profile.user_roles AS r
                           WHERE r.user_id = u.user_id AND r.role = 'listener' AND r.active)
                OR EXISTS (SELECT FROM profile.user_favorites
                           WHERE favoriter_id = $1 AND favoritee_id = u.user_id) AS is_visible
         FROM profile.users AS u
         WHERE u.user_id = ANY($2)
           AND NOT EXISTS (SELECT FROM profile.user_blocks
                           WHERE blocker_id = $1 AND blocked_id = u.user_id)
           AND NOT EXISTS (SELECT FROM profile.user_blocks
                           WHERE blocker_id = u.user_id AND blocked_id = $1)",
    )
    .bind(viewer_id)
    .bind(user_ids)
    .fetch_all(connection)
    .await
}

/// Lists the names among these, which are in lower case, that are taken.
pub async fn list_taken_usernames(
    connection: &mut PgConnection,
    usernames: &[String],
) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar("SELECT lower(username) FROM profile.users WHERE lower(username) = ANY($1)")
        .bind(usernames)
        .fetch_all(connection)
        .await
}

/// Finds a user and locks the row until the transaction ends.
pub async fn lock(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<User>> {
    sqlx::query_as(select_users!("WHERE user_id = $1 FOR NO KEY UPDATE OF u"))
        .bind(user_id)
        .fetch_optional(tx)
        .await
}

/// Makes transactions that append events of a user wait for each other, so that the events are numbered in the
/// order of their commits. Nothing is locked if there is no such user.
pub async fn lock_for_events(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<()> {
    sqlx::query("SELECT FROM profile.users WHERE user_id = $1 FOR NO KEY UPDATE")
        .bind(user_id)
        .execute(tx)
        .await?;
    Ok(())
}

/// Updates the row of a locked user.
pub async fn update(tx: &mut PgConnection, user: &User) -> Result<(), ProfileError> {
    let updated = sqlx::query(
        "UPDATE profile.users
         SET username = $2, bio = $3, interests = $4, profile_image_url = $5,
             preferred_language = $6, country = $7, rating = $8::numeric / 100, version = $9,
             updated_at = $10, terms_version = $11, terms_accepted_at = $12
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
    .bind(&user.terms_version)
    .bind(user.terms_accepted_at)
    .execute(tx)
    .await
    .map_err(username_taken)?;
    expect_rows(&updated, 1, TABLE, user.user_id)?;
    Ok(())
}

fn username_taken(error: sqlx::Error) -> ProfileError {
    if is_unique_violation(&error, USERNAME_INDEX) {
        ProfileError::UsernameTaken
    } else {
        error.into()
    }
}

pub async fn find_preferences(
    connection: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<Option<ListenerPreferences>> {
    sqlx::query_as("SELECT audio_enabled, video_enabled FROM profile.users WHERE user_id = $1")
        .bind(user_id)
        .fetch_optional(connection)
        .await
}

/// Finds the preferences of a listener and locks the row until the transaction ends.
pub async fn lock_preferences(
    tx: &mut PgConnection,
    user_id: i64,
) -> sqlx::Result<Option<ListenerPreferences>> {
    sqlx::query_as(
        "SELECT audio_enabled, video_enabled FROM profile.users
         WHERE user_id = $1 FOR NO KEY UPDATE",
    )
    .bind(user_id)
    .fetch_optional(tx)
    .await
}

/// Updates the preferences of a listener whose row is locked.
pub async fn update_preferences(
    tx: &mut PgConnection,
    user_id: i64,
    preferences: ListenerPreferences,
) -> Result<(), ProfileError> {
    let updated = sqlx::query(
        "UPDATE profile.users SET audio_enabled = $2, video_enabled = $3 WHERE user_id = $1",
    )
    .bind(user_id)
    .bind(preferences.audio_enabled)
    .bind(preferences.video_enabled)
    .execute(tx)
    .await?;
    expect_rows(&updated, 1, TABLE, user_id)?;
    Ok(())
}

/// Increments the version of a user for a change outside of the row; returns the new version.
pub async fn increment_version(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<i64> {
    sqlx::query_scalar(
        "UPDATE profile.users SET version = version + 1 WHERE user_id = $1 RETURNING version",
    )
    .bind(user_id)
    .fetch_one(tx)
    .await
}

/// The fields of a deleted row that the rest of the deletion needs.
#[derive(Clone, Debug, FromRow)]
pub struct DeletedUserRow {
    /// The last version of the user.
    pub version: i64,
    /// The registration that created the user; `None` if the user was created in another way.
    pub registration_id: Option<String>,
    /// In E.164.
    pub phone: String,
}

/// Deletes a user and all rows that refer to the user in other tables of this schema; `None` if there is no such
/// user.
pub async fn delete(tx: &mut PgConnection, user_id: i64) -> sqlx::Result<Option<DeletedUserRow>> {
    sqlx::query_as(
        "DELETE FROM profile.users WHERE user_id = $1 RETURNING version, registration_id, phone",
    )
    .bind(user_id)
    .fetch_optional(tx)
    .await
}

/// Updates the rating of a listener to a mean, unless the stored one is the mean of as many or more ratings.
pub async fn update_rating(
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

/// Updates the image of a user to their approved photo, unless a later event about their photos was applied.
pub async fn update_photo(
    tx: &mut PgConnection,
    user_id: i64,
    photo_version: i64,
    image_url: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE profile.users SET profile_image_url = $3, photo_version = $2
         WHERE user_id = $1 AND photo_version < $2",
    )
    .bind(user_id)
    .bind(photo_version)
    .bind(image_url)
    .execute(tx)
    .await?;
    Ok(())
}

/// Clears the image of a user if it is this photo, unless a later event about their photos was applied.
pub async fn clear_photo(
    tx: &mut PgConnection,
    user_id: i64,
    photo_version: i64,
    image_url: &str,
) -> sqlx::Result<()> {
    sqlx::query(
        "UPDATE profile.users
         SET profile_image_url = nullif(profile_image_url, $3), photo_version = $2
         WHERE user_id = $1 AND photo_version < $2",
    )
    .bind(user_id)
    .bind(photo_version)
    .bind(image_url)
    .execute(tx)
    .await?;
    Ok(())
}
