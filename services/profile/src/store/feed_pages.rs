//! Pages of the feed: `profile.feed_listeners` with `profile.users`, less whom the viewer must not
//! see. The one place where SQL is built: filters and orders are too many to write out, and each
//! is to have its own plan.

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection, Postgres, QueryBuilder};

use crate::domain::feed::{FeedFilter, FeedQuery, Order, Position, Sort, Start};

/// A listener as the feed shows them.
#[derive(Clone, Debug, FromRow)]
pub struct FeedListener {
    /// Who it is.
    pub user_id: i64,
    /// Their name.
    pub username: String,
    /// A name of [`crate::domain::Sex`].
    pub sex: String,
    /// What they say of themselves.
    pub bio: Option<String>,
    /// What they like to talk about.
    pub interests: Vec<String>,
    /// An address on the web.
    pub profile_image_url: Option<String>,
    /// A language tag.
    pub preferred_language: String,
    /// Where they are.
    pub country: Option<String>,
    /// Mean of the stars, in hundredths.
    pub rating_hundredths: Option<i32>,
    /// Names of each [`crate::domain::Role`] that they have.
    pub roles: Vec<String>,
    /// Whether they are here.
    pub is_online: bool,
    /// Whether they are on a call, or want none.
    pub is_busy: bool,
    /// Minutes until they are free.
    pub wait_time: Option<i32>,
    /// Their latest sign of life, as of their latest change of status.
    pub last_seen: Option<DateTime<Utc>>,
    /// Calls that they have talked.
    pub call_count: i64,
    /// Seconds of all of them.
    pub total_call_secs: i64,
    /// Whether an admin has approved their audio sample.
    pub is_verified: bool,
    sort_key: i64,
}

impl FeedListener {
    /// Their place in the order that they were asked for in.
    pub fn position(&self) -> Position {
        Position {
            key: self.sort_key,
            user_id: self.user_id,
        }
    }

    /// Mean seconds of a call; zero before the first.
    pub fn avg_call_duration_secs(&self) -> i64 {
        self.total_call_secs
            .checked_div(self.call_count)
            .unwrap_or_default()
    }
}

/// Everybody whom the filter finds, whatever the page.
#[derive(Clone, Copy, Debug, Default, Eq, FromRow, PartialEq)]
pub struct FeedCounts {
    /// All of them.
    pub total: i64,
    /// Those online.
    pub online: i64,
    /// Those online and free.
    pub available: i64,
}

/// The page, and one listener more if there is a next one.
pub async fn page(
    connection: &mut PgConnection,
    query: &FeedQuery,
) -> sqlx::Result<Vec<FeedListener>> {
    page_statement("", query)
        .build_query_as()
        .fetch_all(connection)
        .await
}

/// How many the filter finds.
pub async fn counts(connection: &mut PgConnection, query: &FeedQuery) -> sqlx::Result<FeedCounts> {
    let mut statement = QueryBuilder::new(
        "SELECT count(*) AS total,
                count(*) FILTER (WHERE f.availability > 0) AS online,
                count(*) FILTER (WHERE f.availability = 2) AS available",
    );
    push_matching(&mut statement, query.viewer_id, &query.filter);
    statement.build_query_as().fetch_one(connection).await
}

/// The statement of a page; `prefix` goes before it, such as `EXPLAIN`.
pub fn page_statement(prefix: &str, query: &FeedQuery) -> QueryBuilder<Postgres> {
    let key = sort_key(query.order.sort);
    let mut statement = QueryBuilder::new(prefix);
    statement.push(
        "SELECT u.user_id, u.username, u.sex, u.bio, u.interests, u.profile_image_url,
                u.preferred_language, u.country, (u.rating * 100)::integer AS rating_hundredths,
                ARRAY(SELECT role FROM profile.user_roles AS r
                      WHERE r.user_id = u.user_id AND r.active ORDER BY role) AS roles,
                f.is_online, f.is_busy, f.wait_time, f.last_seen, f.call_count, f.total_call_secs,
                f.is_verified, ",
    );
    statement.push(key).push(" AS sort_key");
    push_matching(&mut statement, query.viewer_id, &query.filter);
    if let Start::After(position) = query.start {
        push_after(&mut statement, query.order, position);
    }
    let direction = if query.order.is_ascending {
        "ASC"
    } else {
        "DESC"
    };
    statement.push(format_args!(
        " ORDER BY {key} {direction}, f.user_id {direction} LIMIT "
    ));
    statement.push_bind(i64::from(query.per_page) + 1);
    statement.push(" OFFSET ").push_bind(query.offset());
    statement
}

/// What listeners are sorted by, as a bigint; each is an index's first column.
fn sort_key(sort: Sort) -> &'static str {
    match sort {
        Sort::Rating => "coalesce((u.rating * 100)::bigint, 0)",
        Sort::Online => "f.availability",
        Sort::Recent => "f.user_id",
    }
}

fn push_after(statement: &mut QueryBuilder<Postgres>, order: Order, position: Position) {
    let key = sort_key(order.sort);
    let comparison = if order.is_ascending { '>' } else { '<' };
    statement
        .push(format_args!(" AND ({key}, f.user_id) {comparison} ("))
        .push_bind(position.key)
        .push(", ")
        .push_bind(position.user_id)
        .push(")");
}

/// Whom the viewer may see, and the filter lets through. Blocks are read from their owner's table:
/// they hold at once and both ways (contract, section 3).
fn push_matching(statement: &mut QueryBuilder<Postgres>, viewer_id: i64, filter: &FeedFilter) {
    statement
        .push(" FROM profile.feed_listeners AS f JOIN profile.users AS u USING (user_id)")
        .push(" WHERE u.user_id <> ")
        .push_bind(viewer_id)
        .push(" AND NOT EXISTS (SELECT FROM profile.user_blocks AS b")
        .push(" WHERE b.blocked_id = u.user_id AND b.blocker_id = ")
        .push_bind(viewer_id)
        .push(") AND NOT EXISTS (SELECT FROM profile.user_blocks AS b")
        .push(" WHERE b.blocker_id = u.user_id AND b.blocked_id = ")
        .push_bind(viewer_id)
        .push(")");
    if filter.available_only {
        statement.push(" AND f.availability = 2");
    } else if filter.online_only {
        statement.push(" AND f.availability > 0");
    }
    if filter.verified_only {
        statement.push(" AND f.is_verified");
    }
    if let Some(sex) = filter.sex {
        statement.push(" AND u.sex = ").push_bind(sex.name());
    }
    if let Some(min) = filter.min_rating_hundredths {
        push_rating(statement, " >= ", min);
    }
    if let Some(max) = filter.max_rating_hundredths {
        push_rating(statement, " <= ", max);
    }
    if !filter.interests.is_empty() {
        statement
            .push(" AND u.interests && ")
            .push_bind(filter.interests.clone());
    }
    if let Some(language) = &filter.language {
        statement
            .push(" AND u.preferred_language = ")
            .push_bind(language.clone());
    }
}

fn push_rating(statement: &mut QueryBuilder<Postgres>, comparison: &str, hundredths: i32) {
    statement
        .push(" AND ")
        .push(sort_key(Sort::Rating))
        .push(comparison)
        .push_bind(i64::from(hundredths));
}
