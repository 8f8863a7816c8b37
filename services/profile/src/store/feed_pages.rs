//! Pages of the feed: `profile.feed_listeners`, less whom the viewer must not see; what is shown of
//! those on the page comes from `profile.users`. The one place where SQL is built: filters and orders
//! are too many to write out, and each is to have its own plan, made for the values at hand.

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

impl FeedCounts {
    /// Less those whom one viewer does not see. The two are counted a moment apart.
    #[must_use]
    pub fn without(self, unseen: Self) -> Self {
        Self {
            total: (self.total - unseen.total).max(0),
            online: (self.online - unseen.online).max(0),
            available: (self.available - unseen.available).max(0),
        }
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

/// The page, and one listener more if there is a next one. `hidden` are never on it.
pub async fn page(
    connection: &mut PgConnection,
    query: &FeedQuery,
    hidden: &[i64],
) -> sqlx::Result<Vec<FeedListener>> {
    page_statement("", query, hidden)
        .build_query_as()
        .persistent(false)
        .fetch_all(connection)
        .await
}

/// How many the filter finds, whoever looks.
pub async fn counts(
    connection: &mut PgConnection,
    filter: &FeedFilter,
) -> sqlx::Result<FeedCounts> {
    let mut statement = counting(filter);
    statement
        .build_query_as()
        .persistent(false)
        .fetch_one(connection)
        .await
}

/// How many of these the filter finds.
pub async fn counts_among(
    connection: &mut PgConnection,
    filter: &FeedFilter,
    user_ids: &[i64],
) -> sqlx::Result<FeedCounts> {
    let mut statement = counting(filter);
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

fn counting(filter: &FeedFilter) -> QueryBuilder<Postgres> {
    let mut statement = QueryBuilder::new(
        "SELECT count(*) AS total,
                count(*) FILTER (WHERE f.is_online) AS online,
                count(*) FILTER (WHERE f.is_online AND NOT f.is_busy) AS available
         FROM profile.feed_listeners AS f WHERE true",
    );
    push_filter(&mut statement, filter);
    statement
}

/// The statement of a page; `prefix` goes before it, such as `EXPLAIN`.
pub fn page_statement(prefix: &str, query: &FeedQuery, hidden: &[i64]) -> QueryBuilder<Postgres> {
    let key = sort_key(query.order.sort);
    let direction = if query.order.is_ascending {
        "ASC"
    } else {
        "DESC"
    };
    let mut statement = QueryBuilder::new(prefix);
    statement.push(
        "SELECT u.user_id, u.username, u.sex, u.bio, u.interests, u.profile_image_url,
                u.preferred_language, u.country, (u.rating * 100)::integer AS rating_hundredths,
                ARRAY(SELECT role FROM profile.user_roles AS r
                      WHERE r.user_id = u.user_id AND r.active ORDER BY role) AS roles,
                f.is_online, f.is_busy, f.wait_time, f.last_seen, f.call_count, f.total_call_secs,
                f.is_verified, f.sort_key
         FROM (SELECT f.user_id, f.is_online, f.is_busy, f.wait_time, f.last_seen, f.call_count,
                      f.total_call_secs, f.is_verified, ",
    );
    statement
        .push(key)
        .push(" AS sort_key FROM profile.feed_listeners AS f WHERE f.user_id <> ALL(");
    statement.push_bind(hidden.to_vec()).push(")");
    push_filter(&mut statement, &query.filter);
    if let Start::After(position) = query.start {
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

/// What listeners are sorted by, as a bigint; each is an index's first column.
fn sort_key(sort: Sort) -> &'static str {
    match sort {
        Sort::Rating => "f.rating_key",
        Sort::Online => "f.availability",
        Sort::Recent => "f.last_seen_key",
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

/// Whom the filter lets through.
fn push_filter(statement: &mut QueryBuilder<Postgres>, filter: &FeedFilter) {
    if filter.available_only {
        statement.push(" AND f.is_online AND NOT f.is_busy");
    } else if filter.online_only {
        statement.push(" AND f.is_online");
    }
    if filter.verified_only {
        statement.push(" AND f.is_verified");
    }
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
}

/// A language tag finds itself and every longer tag that begins with it. `tag` is in lower case.
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
