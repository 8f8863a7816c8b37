//! Pages of the feed: the listeners in `profile.feed_listeners` whom the viewer may see, with their profiles from
//! `profile.users`. Only this file builds SQL at run time: there are too many combinations of filters and orders to
//! write them out, and each gets its own plan, made for its values.

use sqlx::{Postgres, QueryBuilder};
use talktime_kit::db::PgConnection;

use super::listener_columns::listener_columns;
use crate::domain::CallType;
use crate::domain::feed::{
    FeedFilter, FeedListener, FeedListenerCounts, FeedOrder, FeedPagePosition, FeedPageQuery,
    FeedPageStart, FeedSortKey,
};

/// `SELECT` of listeners with their profiles, from a subquery named `f` that begins with `$rest`.
macro_rules! select_listeners {
    ($rest:literal) => {
        concat!(
            "SELECT ",
            listener_columns!(),
            ", f.sort_key
             FROM ",
            $rest
        )
    };
}

/// Finds a listener, unless a block in either direction hides them from the viewer.
pub async fn find_visible(
    connection: &mut PgConnection,
    viewer_id: i64,
    listener_id: i64,
) -> sqlx::Result<Option<FeedListener>> {
    sqlx::query_as(select_listeners!(
        "(SELECT f.*, 0::bigint AS sort_key FROM profile.feed_listeners AS f
          WHERE f.user_id = $2
            AND NOT EXISTS (SELECT FROM profile.user_blocks AS b
                            WHERE b.blocker_id = $1 AND b.blocked_id = $2
                               OR b.blocker_id = $2 AND b.blocked_id = $1)) AS f
         JOIN profile.users AS u USING (user_id)"
    ))
    .bind(viewer_id)
    .bind(listener_id)
    .fetch_optional(connection)
    .await
}

/// Lists the page without the `hidden` users, and one listener more if there is a next page.
pub async fn list_page(
    connection: &mut PgConnection,
    query: &FeedPageQuery,
    hidden: &[i64],
) -> sqlx::Result<Vec<FeedListener>> {
    page_statement("", query, hidden)
        .build_query_as()
        .persistent(false)
        .fetch_all(connection)
        .await
}

/// Counts the listeners that the filter finds, for any viewer.
pub async fn count_listeners(
    connection: &mut PgConnection,
    filter: &FeedFilter,
) -> sqlx::Result<FeedListenerCounts> {
    let mut statement = count_statement(filter);
    statement
        .build_query_as()
        .persistent(false)
        .fetch_one(connection)
        .await
}

/// Counts the listeners among these that the filter finds.
pub async fn count_among(
    connection: &mut PgConnection,
    filter: &FeedFilter,
    user_ids: &[i64],
) -> sqlx::Result<FeedListenerCounts> {
    let mut statement = count_statement(filter);
    statement
        .push(" AND f.user_id = ANY(")
        .push_bind(user_ids)
        .push(")");
    statement
        .build_query_as()
        .persistent(false)
        .fetch_one(connection)
        .await
}

fn count_statement(filter: &FeedFilter) -> QueryBuilder<Postgres> {
    let mut statement = QueryBuilder::new(
        "SELECT count(*) AS total,
                count(*) FILTER (WHERE f.is_online) AS online,
                count(*) FILTER (WHERE f.availability = 2) AS available
         FROM profile.feed_listeners AS f WHERE true",
    );
    push_filter(&mut statement, filter);
    statement
}

/// Builds the statement of a page after `prefix`, such as `EXPLAIN`.
pub fn page_statement(
    prefix: &str,
    query: &FeedPageQuery,
    hidden: &[i64],
) -> QueryBuilder<Postgres> {
    let key = sort_key(query.order.sort);
    let direction = if query.order.is_ascending {
        "ASC"
    } else {
        "DESC"
    };
    let mut statement = QueryBuilder::new(prefix);
    statement.push(select_listeners!(
        "(SELECT f.user_id, f.is_online, f.is_busy, f.wait_time, f.last_seen, f.call_count,
                 f.total_call_secs, f.answer_percent, f.is_verified, f.accepting_calls,
                 f.audio_enabled, f.video_enabled, "
    ));
    statement
        .push(key)
        .push(" AS sort_key FROM profile.feed_listeners AS f WHERE f.user_id <> ALL(");
    statement.push_bind(hidden.to_vec()).push(")");
    push_filter(&mut statement, &query.filter);
    if let FeedPageStart::After(position) = query.start {
        push_after(&mut statement, query.order, position);
    }
    statement.push(format_args!(
        " ORDER BY {key} {direction}, f.user_id {direction} LIMIT "
    ));
    statement.push_bind(i64::from(query.per_page) + 1);
    statement.push(" OFFSET ").push_bind(query.offset());
    statement.push(format_args!(
        ") AS f JOIN profile.users AS u USING (user_id)
         ORDER BY f.sort_key {direction}, f.user_id {direction}"
    ));
    statement
}

/// The column of a sort key, which is a bigint and the first column of an index.
fn sort_key(sort: FeedSortKey) -> &'static str {
    match sort {
        FeedSortKey::Rating => "f.rating_key",
        FeedSortKey::Online => "f.availability",
        FeedSortKey::Recent => "f.last_seen_key",
    }
}

fn push_after(
    statement: &mut QueryBuilder<Postgres>,
    order: FeedOrder,
    position: FeedPagePosition,
) {
    let key = sort_key(order.sort);
    let comparison = if order.is_ascending { '>' } else { '<' };
    statement
        .push(format_args!(" AND ({key}, f.user_id) {comparison} ("))
        .push_bind(position.key)
        .push(", ")
        .push_bind(position.user_id)
        .push(")");
}

/// Appends the conditions of the filter.
fn push_filter(statement: &mut QueryBuilder<Postgres>, filter: &FeedFilter) {
    if filter.available_only {
        statement.push(" AND f.is_online AND NOT f.is_busy AND f.accepting_calls");
    } else if filter.online_only {
        statement.push(" AND f.is_online");
    }
    if filter.verified_only {
        statement.push(" AND f.is_verified");
    }
    match filter.call_type {
        Some(CallType::Audio) => statement.push(" AND f.audio_enabled"),
        Some(CallType::Video) => statement.push(" AND f.video_enabled"),
        None => statement,
    };
    if let Some(sex) = filter.sex {
        statement.push(" AND f.sex = ").push_bind(sex.name());
    }
    if let Some(min) = filter.min_rating_hundredths {
        statement
            .push(" AND f.rating_key >= ")
            .push_bind(i64::from(min));
    }
    if let Some(max) = filter.max_rating_hundredths {
        statement
            .push(" AND f.rating_key <= ")
            .push_bind(i64::from(max));
    }
    if !filter.interests.is_empty() {
        statement
            .push(" AND f.interest_keys && profile.interest_keys(")
            .push_bind(filter.interests.clone())
            .push(")");
    }
    if let Some(tag) = &filter.language {
        push_language(statement, &tag.to_ascii_lowercase());
    }
    if let Some(prefix) = &filter.username_prefix {
        statement
            .push(" AND f.username_key ^@ ")
            .push_bind(prefix.clone());
    }
}

/// Appends the condition of a language tag, which finds itself and every longer tag that begins with it. `tag` is
/// in lower case.
fn push_language(statement: &mut QueryBuilder<Postgres>, tag: &str) {
    let language = tag.split('-').next().unwrap_or(tag);
    statement
        .push(" AND f.language = ")
        .push_bind(language.to_owned());
    if language != tag {
        statement
            .push(" AND starts_with(lower(f.preferred_language) || '-', ")
            .push_bind(format!("{tag}-"))
            .push(")");
    }
}
