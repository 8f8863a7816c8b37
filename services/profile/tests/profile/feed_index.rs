//! The index of the feed answers like the statements that read the feed from the database.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use sqlx::AssertSqlSafe;
use talktime_profile::domain::feed::{
    FeedFilter, FeedOrder, FeedPagePosition, FeedPageQuery, FeedPageStart, FeedSortKey,
};
use talktime_profile::domain::{CallType, Sex};
use talktime_profile::feed::{FeedPage, FeedService};
use talktime_proto::profile::v1 as pb;

use crate::TestProfile;
use crate::events::{BUSY, FREE, ONLINE, status};
use crate::feed::{first_page, list_page};

/// More than the half of it has to match for the orders to be read instead of sorting the page.
const LISTENERS: i64 = 2_000;
const ROUNDS: usize = 20;
const QUERIES_PER_ROUND: usize = 25;
/// More changes than the index takes in at once.
const MANY: i64 = 20_001;
const SORTS: [FeedSortKey; 3] = [
    FeedSortKey::Rating,
    FeedSortKey::Online,
    FeedSortKey::Recent,
];

/// Inserts listeners with the given first id whose values repeat in different periods.
async fn insert_listeners(profile: &TestProfile, first_id: i64, count: i64) {
    for statement in [
        "INSERT INTO profile.users (user_id, username, phone, sex, dob, bio, rating, interests,
                                    preferred_language, profile_image_url, country, audio_enabled,
                                    video_enabled)
         OVERRIDING SYSTEM VALUE
         SELECT id, (ARRAY['Asha_', 'ash_', 'ravi'])[id % 3 + 1] || id, '+91' || id,
                (ARRAY['male', 'female', 'other'])[id % 7 % 3 + 1], '1999-12-31',
                CASE WHEN id % 2 = 0 THEN 'Hello' END, nullif(id * 7919 % 501, 0) / 100.0,
                CASE WHEN id % 5 > 0 THEN ARRAY['Topic ' || id % 8, 'İstanbul ' || id % 30] ELSE '{}' END,
                (ARRAY['hi', 'hi-IN', 'HI-Latn-in', 'hin', 'en'])[id % 5 + 1],
                CASE WHEN id % 3 = 0 THEN 'https://example.com/' || id END,
                CASE WHEN id % 4 = 0 THEN 'India' END, id % 6 > 0, id % 6 <> 1
         FROM generate_series($1, $1 + $2 - 1) AS id",
        "INSERT INTO profile.user_roles (user_id, role)
         SELECT id, 'listener' FROM generate_series($1, $1 + $2 - 1) AS id",
        "UPDATE profile.feed_listeners
         SET is_online = user_id % 3 = 0, is_busy = user_id % 4 = 0, is_verified = user_id % 2 = 0,
             wait_time = CASE WHEN user_id % 4 = 0 THEN 30 END,
             last_seen = CASE WHEN user_id % 9 > 0 THEN to_timestamp(user_id * 31 % 700) END
         WHERE user_id >= $1 AND user_id < $1 + $2",
    ] {
        let inserted = sqlx::query(statement).bind(first_id).bind(count);
        let inserted = inserted.execute(&profile.database.superuser).await;
        inserted.expect("inserted");
    }
}

/// Changes some listeners, profiles, roles and blocks.
async fn change_some(profile: &TestProfile, random: &mut StdRng) {
    let user_id = random.random_range(1..=LISTENERS);
    let step = random.random_range(7..90);
    let number = random.random_range(0..500);
    for change in [
        format!(
            "UPDATE profile.feed_listeners SET is_online = NOT is_online, last_seen = to_timestamp({number}),
                    is_busy = {number} % 2 = 0, accepting_calls = {number} % 3 > 0
             WHERE user_id % {step} = 0"
        ),
        format!(
            "UPDATE profile.users SET rating = {number} / 100.0, username = 'new_' || user_id || '_{number}'
             WHERE user_id % {step} = 1"
        ),
        format!(
            "UPDATE profile.users SET interests = ARRAY['topic 3'], bio = 'New', country = 'IN'
             WHERE user_id % {step} = 2"
        ),
        format!("UPDATE profile.user_roles SET active = NOT active WHERE user_id % {step} = 3"),
        format!("DELETE FROM profile.users WHERE user_id = {user_id}"),
        format!(
            "INSERT INTO profile.user_blocks (blocker_id, blocked_id, action_type)
             SELECT u.user_id, u.user_id + 1, 'block' FROM profile.users AS u
             JOIN profile.users AS v ON v.user_id = u.user_id + 1
             WHERE u.user_id BETWEEN 1 AND {LISTENERS} - 1 AND u.user_id % {step} = 4
             ON CONFLICT DO NOTHING"
        ),
    ] {
        let changed = sqlx::query(AssertSqlSafe(change));
        let changed = changed.execute(&profile.database.superuser).await;
        changed.expect("changed");
    }
}

fn random_filter(random: &mut StdRng) -> FeedFilter {
    let min = random.random_bool(0.2).then(|| random.random_range(0..400));
    let pick = |random: &mut StdRng, texts: &[&str]| {
        let text = texts.choose(random).copied().unwrap_or_default();
        text.to_owned()
    };
    FeedFilter {
        online_only: random.random_bool(0.2),
        available_only: random.random_bool(0.1),
        call_type: [
            None,
            None,
            None,
            Some(CallType::Audio),
            Some(CallType::Video),
        ]
        .choose(random)
        .copied()
        .flatten(),
        verified_only: false,
        sex: random.random_bool(0.2).then_some(Sex::Female),
        min_rating_hundredths: min,
        max_rating_hundredths: (random.random_bool(0.2))
            .then(|| random.random_range(min.unwrap_or(0)..=500)),
        interests: (0..random.random_range(0..6_usize).saturating_sub(3))
            .map(|_| pick(random, &["topic 3", "TOPIC 5", "i\u{307}stanbul 7", "none"]))
            .collect(),
        language: (random.random_bool(0.2)).then(|| pick(random, &["hi", "HI-latn", "hin", "fr"])),
        username_prefix: (random.random_bool(0.1))
            .then(|| pick(random, &["asha_1", "ash", "ravi", "new_", "x"])),
    }
}

fn random_query(random: &mut StdRng) -> FeedPageQuery {
    let sort = *SORTS.choose(random).expect("not empty");
    let key = match sort {
        FeedSortKey::Rating => random.random_range(0..=500),
        FeedSortKey::Online => random.random_range(0..=2),
        FeedSortKey::Recent => random.random_range(0..=700) * 1_000_000,
    };
    let user_id = random.random_range(0..=LISTENERS);
    FeedPageQuery {
        viewer_id: random.random_range(1..=LISTENERS),
        filter: random_filter(random),
        order: FeedOrder {
            sort,
            is_ascending: random.random_bool(0.5),
        },
        start: if random.random_bool(0.6) {
            FeedPageStart::Page(random.random_range(1..=20))
        } else {
            FeedPageStart::After(FeedPagePosition { key, user_id })
        },
        per_page: random.random_range(1..=100),
    }
}

/// The feed without an index.
fn feed_of_database(profile: &TestProfile) -> FeedService {
    let (db, clock) = (profile.database.app.clone(), profile.clock.clone());
    FeedService::new(db, clock, Duration::ZERO)
}

async fn load(feed: &FeedService, query: &FeedPageQuery) -> FeedPage {
    feed.load_page(query).await.expect("a page")
}

#[tokio::test]
async fn pages_of_the_index_equal_those_of_the_database() {
    let profile = TestProfile::start().await;
    insert_listeners(&profile, 1, LISTENERS).await;
    let database = feed_of_database(&profile);
    let indexed = feed_of_database(&profile).read_index(profile.feed_index.clone());
    let random = &mut StdRng::seed_from_u64(1);
    for round in 0..ROUNDS {
        change_some(&profile, random).await;
        for _ in 0..QUERIES_PER_ROUND {
            let query = random_query(random);
            let found = profile.feed_index.find_page(&query).await;
            assert!(found.expect("answered").is_some(), "{query:?}");
            let verified = random.random_bool(0.2);
            let page = load(&indexed.clone().require_verified(verified), &query).await;
            let expected = load(&database.clone().require_verified(verified), &query).await;
            assert_eq!(
                format!("{page:?}"),
                format!("{expected:?}"),
                "{round} {query:?}"
            );
        }
    }
}

#[tokio::test]
async fn changes_are_taken_in_whatever_the_order_of_their_commits() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let meena = profile.register("meena", "listener").await.user_id;
    let ravi = profile.register("ravi", "listener").await.user_id;
    let mut first = profile.database.superuser.begin().await.expect("begun");
    for statement in [
        format!("UPDATE profile.feed_listeners SET is_online = true WHERE user_id = {asha}"),
        format!("DELETE FROM profile.user_roles WHERE user_id = {ravi}"),
    ] {
        let changed = sqlx::query(AssertSqlSafe(statement));
        changed.execute(&mut *first).await.expect("changed");
    }
    // This transaction is the younger one, and the first to commit.
    profile.apply_event(1, status(meena, ONLINE, BUSY)).await;
    let page = list_page(&profile, first_page(0)).await;
    assert_eq!((page.total_count, page.online_count), (3, 1));
    first.commit().await.expect("committed");
    let page = list_page(&profile, first_page(0)).await;
    assert_eq!((page.total_count, page.online_count), (2, 2));
}

#[tokio::test]
async fn everything_that_a_page_shows_is_current() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let before = list_page(&profile, first_page(0)).await;
    profile.apply_event(1, status(asha, ONLINE, FREE)).await;
    let update = pb::UpdateUserRequest {
        user_id: asha,
        username: Some("usha".to_owned()),
        bio: Some("New".to_owned()),
        profile_image_url: Some("https://example.com/new.png".to_owned()),
        country: Some("India".to_owned()),
        ..pb::UpdateUserRequest::default()
    };
    profile.update(update).await.expect("updated");
    sqlx::query("INSERT INTO profile.user_roles (user_id, role) VALUES ($1, 'user')")
        .bind(asha)
        .execute(&profile.database.app_pool)
        .await
        .expect("granted");
    let page = list_page(&profile, first_page(0)).await;
    let expected = pb::Listener {
        username: "usha".to_owned(),
        bio: Some("New".to_owned()),
        profile_image_url: Some("https://example.com/new.png".to_owned()),
        country: Some("India".to_owned()),
        roles: vec!["listener".to_owned(), "user".to_owned()],
        is_online: true,
        ..before.listeners[0].clone()
    };
    assert_eq!(page.listeners, [expected]);
    profile
        .execute("DELETE FROM profile.user_roles WHERE role = 'user'")
        .await;
    let page = list_page(&profile, first_page(0)).await;
    assert_eq!(page.listeners[0].roles, ["listener"]);
}

#[tokio::test]
async fn the_database_answers_until_an_index_that_lacks_too_much_is_built_again() {
    let profile = TestProfile::start().await;
    insert_listeners(&profile, 1, MANY).await;
    let query = FeedPageQuery {
        viewer_id: 1,
        filter: FeedFilter::default(),
        order: FeedOrder {
            sort: FeedSortKey::Recent,
            is_ascending: false,
        },
        start: FeedPageStart::Page(2),
        per_page: 20,
    };
    let find = || async {
        profile
            .feed_index
            .find_page(&query)
            .await
            .expect("answered")
    };
    assert!(find().await.is_none());
    let page = list_page(&profile, first_page(1)).await;
    assert_eq!((page.total_count, page.listeners.len()), (MANY - 1, 20));
    profile.feed_index.maintain().await.expect("built");
    let page = find().await.expect("an index");
    assert_eq!(page.counts.total, MANY - 1);
    // A search that finds thousands of names is faster in the database.
    let mut query = query.clone();
    query.filter.username_prefix = Some("a".to_owned());
    let found = profile.feed_index.find_page(&query).await;
    assert!(found.expect("answered").is_none());
}

/// Executes a statement without triggers, so that the index does not notice its changes.
async fn execute_unnoticed(profile: &TestProfile, statement: &str) {
    let connection = profile.database.superuser.acquire().await;
    let mut connection = connection.expect("connected");
    let statement = format!("SET session_replication_role = replica; {statement}");
    let executed = sqlx::raw_sql(AssertSqlSafe(statement));
    let executed = executed.execute(&mut *connection).await;
    executed.expect("executed");
    connection.close_on_drop();
}

#[tokio::test]
async fn an_error_in_the_index_is_repaired() {
    let profile = TestProfile::start().await;
    for name in ["asha", "meena", "ravi"] {
        profile.register(name, "listener").await;
    }
    assert_eq!(list_page(&profile, first_page(0)).await.total_count, 3);
    for statement in [
        "UPDATE profile.feed_listeners SET is_online = true
         WHERE user_id = (SELECT user_id FROM profile.users WHERE username = 'asha')",
        "DELETE FROM profile.feed_listeners
         WHERE user_id = (SELECT user_id FROM profile.users WHERE username = 'ravi')",
    ] {
        execute_unnoticed(&profile, statement).await;
    }
    let page = list_page(&profile, first_page(0)).await;
    assert_eq!((page.total_count, page.online_count), (3, 0));
    profile.feed_index.maintain().await.expect("compared");
    let page = list_page(&profile, first_page(0)).await;
    assert_eq!((page.total_count, page.online_count), (2, 1));
}

#[tokio::test]
async fn a_turn_compares_a_thousand_listeners_and_the_next_one_goes_on_after_them() {
    let profile = TestProfile::start().await;
    insert_listeners(&profile, 1, 1_100).await;
    profile.feed_index.maintain().await.expect("compared");
    execute_unnoticed(
        &profile,
        "UPDATE profile.feed_listeners SET is_online = true WHERE user_id IN (5, 1000, 1001)",
    )
    .await;
    // The last hundred listeners are next, and then all from the first one on.
    for online in [366, 367, 369] {
        let page = list_page(&profile, first_page(0)).await;
        assert_eq!((page.total_count, page.online_count), (1_100, online));
        profile.feed_index.maintain().await.expect("compared");
    }
}

#[tokio::test]
async fn a_listener_who_bears_a_transaction_of_another_server_is_followed() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let restored =
        "UPDATE profile.feed_listeners SET changed_xid = '9000000000000', is_online = true";
    execute_unnoticed(&profile, restored).await;
    // The row counts as known, so that a restored feed is not read again for each page.
    assert_eq!(list_page(&profile, first_page(0)).await.online_count, 0);
    profile.apply_event(1, status(asha, ONLINE, BUSY)).await;
    let page = list_page(&profile, first_page(0)).await;
    assert_eq!((page.online_count, page.available_count), (1, 0));
}
