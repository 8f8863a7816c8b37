//! All listeners in numbers.

use sqlx::{FromRow, PgConnection};

/// Interests that are named.
const TOP_INTERESTS: i64 = 10;

/// How many listeners are alike in one respect.
#[derive(Clone, Debug, Eq, FromRow, PartialEq)]
pub struct Alike {
    /// A sex, a language; none in the row that counts all.
    pub name: Option<String>,
    /// Which respect.
    pub respect: String,
    /// Listeners.
    pub listeners: i64,
    /// Those online.
    pub online: i64,
    /// Those online and busy.
    pub busy: i64,
    /// Sum of the ratings of those who have one, in hundredths.
    pub rating_sum: i64,
    /// Listeners who have a rating.
    pub rated: i64,
}

/// One row for all, one for each sex, one for each language tag in lower case: one pass over the table.
/// Only the verified are counted, where `verified_only` says so.
pub async fn alike(connection: &mut PgConnection, verified_only: bool) -> sqlx::Result<Vec<Alike>> {
    sqlx::query_as(
        "SELECT coalesce(f.sex, lower(f.preferred_language)) AS name,
                CASE WHEN GROUPING(f.sex) = 0 THEN 'sex'
                     WHEN GROUPING(lower(f.preferred_language)) = 0 THEN 'language'
                     ELSE 'all' END AS respect,
                count(*) AS listeners,
                count(*) FILTER (WHERE f.is_online) AS online,
                count(*) FILTER (WHERE f.is_online AND f.is_busy) AS busy,
                coalesce(sum(f.rating_key), 0)::bigint AS rating_sum,
                count(*) FILTER (WHERE f.rating_key > 0) AS rated
         FROM profile.feed_listeners AS f WHERE f.is_verified OR NOT $1
         GROUP BY GROUPING SETS ((), (f.sex), (lower(f.preferred_language)))",
    )
    .bind(verified_only)
    .fetch_all(connection)
    .await
}

/// The most frequent interests, in lower case, and how many listeners have each.
pub async fn top_interests(
    connection: &mut PgConnection,
    verified_only: bool,
) -> sqlx::Result<Vec<(String, i64)>> {
    sqlx::query_as(
        "SELECT interest, count(*) AS listeners
         FROM profile.feed_listeners AS f, unnest(f.interest_keys) AS interest
         WHERE f.is_verified OR NOT $1
         GROUP BY interest ORDER BY listeners DESC, interest LIMIT $2",
    )
    .bind(verified_only)
    .bind(TOP_INTERESTS)
    .fetch_all(connection)
    .await
}
