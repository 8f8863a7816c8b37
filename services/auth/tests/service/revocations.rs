//! The list of revoked tokens that gateways request.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use talktime_auth::SCHEMA;
use talktime_auth::consumers::AuthEventHandler;
use talktime_auth::domain::TokenRevocation;
use talktime_auth::domain::claims::TokenLifetimes;
use talktime_auth::store::revocations::{self, PAGE_MAX, TokenRevocationPage};
use talktime_kit::Clock;
use talktime_kit::messaging::{EventHandler as _, Relay};
use talktime_kit::testing::TestDatabase;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, UserDeleted};

use crate::support::redis;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_750_000_000, 0).expect("valid")
}

fn user_revocation(user_id: i64, lifetime_secs: i64) -> TokenRevocation {
    TokenRevocation::for_user(user_id, now(), now() + TimeDelta::seconds(lifetime_secs))
}

async fn insert(database: &TestDatabase, revocation: &TokenRevocation) {
    let mut connection = database.connect().await;
    let inserted = revocations::insert(&mut connection, revocation).await;
    inserted.expect("kept");
}

async fn list(
    database: &TestDatabase,
    since: Option<DateTime<Utc>>,
    after_id: i64,
) -> TokenRevocationPage {
    let page = revocations::list(&database.app, since, after_id, now()).await;
    page.expect("listed")
}

fn user_ids(page: &TokenRevocationPage) -> Vec<i64> {
    let revocations = page.revocations.iter();
    revocations.map(|(_, revoked)| revoked.user_id).collect()
}

#[tokio::test]
async fn expired_revocations_are_neither_listed_nor_stored() {
    let database = TestDatabase::new(SCHEMA).await;
    for (user_id, lifetime_secs) in [(1, 0), (2, 1)] {
        insert(&database, &user_revocation(user_id, lifetime_secs)).await;
    }
    assert_eq!(user_ids(&list(&database, None, 0).await), [2]);
    let purge = |later| revocations::purge(&database.app, now() + TimeDelta::seconds(later));
    assert_eq!(purge(0).await.expect("purged"), 1);
    assert_eq!(user_ids(&list(&database, None, 0).await), [2]);
    assert_eq!(purge(1).await.expect("purged"), 1);
}

#[tokio::test]
async fn a_revocation_committed_late_is_in_the_next_answer() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut slow = database.app.begin().await.expect("begun");
    let revoked = revocations::insert(&mut slow, &user_revocation(1, 60)).await;
    revoked.expect("kept");
    insert(&database, &user_revocation(2, 60)).await;
    let first = list(&database, None, 0).await;
    assert_eq!(user_ids(&first), [2]);
    slow.commit().await.expect("committed");

    let next = list(&database, Some(first.as_of), 0).await;
    assert_eq!(user_ids(&next), [1, 2]);
    let long_after = first.as_of + TimeDelta::minutes(1);
    assert!(user_ids(&list(&database, Some(long_after), 0).await).is_empty());
}

#[tokio::test]
async fn a_long_list_comes_in_pages() {
    let database = TestDatabase::new(SCHEMA).await;
    sqlx::query(
        "INSERT INTO auth.revocations (user_id, expires_at)
         SELECT n, $1 FROM generate_series(1, $2) AS n",
    )
    .bind(now() + TimeDelta::seconds(60))
    .bind(i64::try_from(PAGE_MAX + 1).expect("small"))
    .execute(&database.app_pool)
    .await
    .expect("kept");
    let first = list(&database, None, 0).await;
    assert_eq!(first.revocations.len(), PAGE_MAX);
    let (last_id, _) = first.revocations.last().expect("many");
    let second = list(&database, None, *last_id).await;
    assert_eq!(second.revocations.len(), 1);
}

#[tokio::test]
async fn a_deletion_is_listed_until_the_last_token_has_expired() {
    let database = TestDatabase::new(SCHEMA).await;
    let lifetimes = TokenLifetimes::default();
    let handler = AuthEventHandler::new(redis(), lifetimes, Relay::default(), Clock::manual(now()));
    let user_id = crate::support::session().user_id;
    let event = Event {
        kind: Some(Kind::UserDeleted(UserDeleted {
            user_id,
            ..UserDeleted::default()
        })),
        ..Event::default()
    };
    let mut tx = database.app.begin().await.expect("begun");
    handler.handle(&mut tx, event).await.expect("handled");
    tx.commit().await.expect("committed");

    let page = list(&database, None, 0).await;
    let [(_, revoked)] = page.revocations.as_slice() else {
        panic!("{page:?}");
    };
    assert_eq!(revoked.user_id, user_id);
    let issued_until = revoked.issued_until.expect("all tokens");
    assert!(issued_until >= now());
    assert_eq!(revoked.expires_at, issued_until + lifetimes.access());
}

/// Each gateway requests the list four times a second, however large the table is.
#[tokio::test]
async fn new_revocations_are_found_by_index() {
    let database = TestDatabase::new(SCHEMA).await;
    sqlx::query(
        "INSERT INTO auth.revocations (user_id, expires_at, revoked_at)
         SELECT n, now() + interval '1 hour', now() - n * interval '1 second'
         FROM generate_series(1, 20000) AS n",
    )
    .execute(&database.app_pool)
    .await
    .expect("kept");
    sqlx::query("ANALYZE auth.revocations")
        .execute(&database.superuser)
        .await
        .expect("analyzed");
    let newest = list(&database, None, 0).await.as_of;
    let count_index_scans = || async {
        let page = list(&database, Some(newest), 0).await;
        assert!(page.revocations.len() < 100, "only the latest");
        sqlx::query_scalar::<_, i64>(
            "SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = 'revocations_revoked'",
        )
        .fetch_one(&database.superuser)
        .await
        .expect("counted")
    };
    // Often enough for Postgres to have settled on a plan.
    let settled = async { while count_index_scans().await < 20 {} };
    let waited = tokio::time::timeout(Duration::from_secs(15), settled).await;
    waited.expect("the index is used each time");
}
