//! Statistics of all listeners in `profile.feed_listeners`.

use talktime_kit::db::PgConnection;

use crate::domain::feed::ListenerGroupCount;

const TOP_INTERESTS: i64 = 10;

/// Counts all listeners, those of each sex, and those of each language tag in lower case, in one pass over the
/// table.
pub async fn count_groups(
    connection: &mut PgConnection,
    verified_only: bool,
) -> sqlx::Result<Vec<ListenerGroupCount>> {
    sqlx::query_as(
        "SELECT coalesce(f.sex, lower(f.preferred_language)) AS name,
                CASE WHEN GROUPING(f.sex) = 0 THEN 'sex'
                     WHEN GROUPING(lower(f.preferred_language)) = 0 THEN 'language'
                     ELSE 'all' END AS dimension,
                count(*) AS listeners,
                count(*) FILTER (WHERE f.is_online) AS online,
                count(*) FILTER (WHERE f.availability = 1) AS busy,
                count(*) FILTER (WHERE f.availability = 2) AS available,
                coalesce(sum(f.rating_key), 0)::bigint AS rating_sum,
                count(*) FILTER (WHERE f.rating_key > 0) AS rated
         FROM profile.feed_listeners AS f WHERE f.is_verified OR NOT $1
         GROUP BY GROUPING SETS ((), (f.sex), (lower(f.preferred_language)))",
    )
    .bind(verified_only)
    .fetch_all(connection)
    .await
}

/// Lists the most frequent interests, in lower case, and the number of listeners who have each.
pub async fn list_top_interests(
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
