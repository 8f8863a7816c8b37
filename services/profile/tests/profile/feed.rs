//! Pages of the feed: their filters, orders, cursors and plans.

use talktime_profile::domain::Sex;
use talktime_profile::domain::feed::{
    FeedFilter, FeedOrder, FeedPagePosition, FeedPageQuery, FeedPageStart, FeedSortKey,
};
use talktime_profile::store::feed_pages;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Code, Request};

use crate::events::status;
use crate::{Refusal, TestProfile, into_result, refusal};

/// Requests the first page of all listeners for a viewer.
pub(crate) fn first_page(viewer_id: i64) -> pb::ListListenersRequest {
    pb::ListListenersRequest {
        viewer_id,
        page: 1,
        per_page: 20,
        ..pb::ListListenersRequest::default()
    }
}

pub(crate) async fn list_page(
    profile: &TestProfile,
    request: pb::ListListenersRequest,
) -> pb::ListListenersResponse {
    try_list_page(profile, request).await.expect("a page")
}

pub(crate) async fn try_list_page(
    profile: &TestProfile,
    request: pb::ListListenersRequest,
) -> Result<pb::ListListenersResponse, Refusal> {
    into_result(profile.api.list_listeners(Request::new(request)).await)
}

pub(crate) fn usernames_of(page: &pb::ListListenersResponse) -> Vec<&str> {
    let listeners = page.listeners.iter();
    listeners
        .map(|listener| listener.username.as_str())
        .collect()
}

/// Registers listeners who are free, busy, away and free, in this order, with 4.35, no, 5.00 and 2.00 stars.
async fn register_four_listeners(profile: &TestProfile) {
    for (name, sex, language, interests, is_online, is_busy, rating) in [
        ("free", "female", "hi", "music", true, false, Some("4.35")),
        ("busy", "male", "hi", "films", true, true, None),
        ("away", "female", "en", "films", false, false, Some("5.00")),
        (
            "also_free",
            "other",
            "en",
            "sport",
            true,
            false,
            Some("2.00"),
        ),
    ] {
        let mut request = crate::registration(name, "listener");
        request.sex = sex.to_owned();
        request.preferred_language = language.to_owned();
        request.interests = vec![interests.to_owned(), "talking".to_owned()];
        let user_id = profile.create(request).await.expect("registered").user_id;
        profile
            .apply_event(1, status(user_id, is_online, is_busy))
            .await;
        sqlx::query("UPDATE profile.users SET rating = $2::numeric WHERE user_id = $1")
            .bind(user_id)
            .bind(rating)
            .execute(&profile.database.app_pool)
            .await
            .expect("rated");
    }
}

#[tokio::test]
async fn available_listeners_come_first_unless_another_order_is_requested() {
    use pb::ListenerSort::{Online, Rating, Recent, Unspecified};
    let profile = TestProfile::start().await;
    register_four_listeners(&profile).await;
    for (sort_by, ascending, expected) in [
        (Unspecified, false, ["also_free", "free", "busy", "away"]),
        (Online, false, ["also_free", "free", "busy", "away"]),
        (Online, true, ["away", "busy", "free", "also_free"]),
        (Rating, false, ["away", "free", "also_free", "busy"]),
        (Rating, true, ["busy", "also_free", "free", "away"]),
        (Recent, false, ["also_free", "away", "busy", "free"]),
        (Recent, true, ["free", "busy", "away", "also_free"]),
    ] {
        let request = pb::ListListenersRequest {
            sort_by: sort_by.into(),
            ascending,
            ..first_page(0)
        };
        let page = list_page(&profile, request).await;
        assert_eq!(usernames_of(&page), expected, "{sort_by:?} {ascending}");
        let counts = (page.total_count, page.online_count, page.available_count);
        assert_eq!(counts, (4, 3, 2));
        assert_eq!(page.next_cursor, None);
    }
}

#[tokio::test]
async fn filters_narrow_the_page_and_the_counts() {
    type RequestChange = fn(&mut pb::ListListenersRequest);
    type Found<'a> = (&'a [&'a str], (i64, i64, i64));
    let profile = TestProfile::start().await;
    register_four_listeners(&profile).await;
    let cases: [(RequestChange, Found<'_>); 10] = [
        (
            |r| r.online_only = true,
            (&["also_free", "free", "busy"], (3, 3, 2)),
        ),
        (
            |r| r.available_only = true,
            (&["also_free", "free"], (2, 2, 2)),
        ),
        (
            |r| r.sex = Some("female".to_owned()),
            (&["free", "away"], (2, 1, 1)),
        ),
        (
            |r| r.min_rating_hundredths = Some(435),
            (&["free", "away"], (2, 1, 1)),
        ),
        (
            |r| r.max_rating_hundredths = Some(434),
            (&["also_free", "busy"], (2, 2, 1)),
        ),
        (
            |r| r.min_rating_hundredths = Some(0),
            (&["also_free", "free", "busy", "away"], (4, 3, 2)),
        ),
        (
            |r| r.interests = vec!["films".to_owned()],
            (&["busy", "away"], (2, 1, 0)),
        ),
        (
            |r| r.interests = vec!["sport".to_owned(), "music".to_owned()],
            (&["also_free", "free"], (2, 2, 2)),
        ),
        (
            |r| r.language = Some("en".to_owned()),
            (&["also_free", "away"], (2, 1, 1)),
        ),
        (
            |r| {
                r.language = Some("en".to_owned());
                r.sex = Some("male".to_owned());
            },
            (&[], (0, 0, 0)),
        ),
    ];
    for (change, (expected, counts)) in cases {
        let mut request = first_page(0);
        change(&mut request);
        let page = list_page(&profile, request.clone()).await;
        assert_eq!(usernames_of(&page), expected, "{request:?}");
        let found = (page.total_count, page.online_count, page.available_count);
        assert_eq!(found, counts, "{request:?}");
    }
}

#[tokio::test]
async fn a_listener_in_the_feed_has_all_fields() {
    let profile = TestProfile::start().await;
    register_four_listeners(&profile).await;
    let page = list_page(&profile, first_page(0)).await;
    let expected = pb::Listener {
        user_id: page.listeners[1].user_id,
        username: "free".to_owned(),
        sex: "female".to_owned(),
        bio: Some("Hello".to_owned()),
        interests: vec!["music".to_owned(), "talking".to_owned()],
        profile_image_url: Some("https://example.com/a.png".to_owned()),
        preferred_language: "hi".to_owned(),
        country: None,
        rating_hundredths: Some(435),
        roles: vec!["listener".to_owned()],
        is_online: true,
        is_busy: false,
        wait_time: None,
        last_seen: None,
        call_count: 0,
        avg_call_duration_secs: 0,
        is_verified: false,
        accepting_calls: Some(true),
        audio_enabled: Some(true),
        video_enabled: Some(true),
        answer_percent: None,
    };
    assert_eq!(page.listeners[1], expected);
}

#[tokio::test]
async fn the_viewer_and_users_blocked_in_either_direction_are_hidden() {
    let profile = TestProfile::start().await;
    let viewer = profile.register("viewer", "listener").await.user_id;
    let blocked = profile.register("blocked", "listener").await.user_id;
    let blocker = profile.register("blocker", "listener").await.user_id;
    profile.register("friend", "listener").await;
    profile.block(viewer, blocked).await;
    profile.block(blocker, viewer).await;
    profile.block(blocker, blocked).await;

    let page = list_page(&profile, first_page(viewer)).await;
    assert_eq!(usernames_of(&page), ["friend"]);
    assert_eq!(page.total_count, 1);
    let for_another = list_page(&profile, first_page(0)).await;
    assert_eq!(for_another.total_count, 4);
}

#[tokio::test]
async fn page_numbers_and_cursors_list_every_listener_once() {
    let profile = TestProfile::start().await;
    let mut expected = Vec::new();
    for number in 0..7 {
        let name = format!("listener{number}");
        let user_id = profile.register(&name, "listener").await.user_id;
        profile
            .apply_event(1, status(user_id, number % 3 > 0, number % 3 > 1))
            .await;
        expected.push(user_id);
    }
    for sort_by in [1, 2, 3] {
        for ascending in [false, true] {
            let request = pb::ListListenersRequest {
                per_page: 3,
                sort_by,
                ascending,
                ..first_page(0)
            };
            let by_page = pages_by_number(&profile, &request).await;
            let by_cursor = pages_by_cursor(&profile, &request).await;
            assert_eq!(by_page, by_cursor, "{sort_by} {ascending}");
            let mut ids = by_page;
            ids.sort_unstable();
            assert_eq!(ids, expected);
        }
    }
}

async fn pages_by_number(profile: &TestProfile, request: &pb::ListListenersRequest) -> Vec<i64> {
    let mut ids = Vec::new();
    for (page, is_last) in [(1, false), (2, false), (3, true)] {
        let request = pb::ListListenersRequest {
            page,
            ..request.clone()
        };
        let page = list_page(profile, request).await;
        assert_eq!(page.next_cursor.is_none(), is_last);
        assert_eq!(page.total_count, 7);
        ids.extend(page.listeners.iter().map(|listener| listener.user_id));
    }
    ids
}

async fn pages_by_cursor(profile: &TestProfile, request: &pb::ListListenersRequest) -> Vec<i64> {
    let mut ids = Vec::new();
    let mut request = request.clone();
    for _ in 0..3 {
        let page = list_page(profile, request.clone()).await;
        ids.extend(page.listeners.iter().map(|listener| listener.user_id));
        request.cursor = page.next_cursor;
        request.page = 0;
    }
    assert_eq!(request.cursor, None);
    ids
}

#[tokio::test]
async fn invalid_queries_are_refused() {
    type RequestChange = fn(&mut pb::ListListenersRequest);
    let cases: [(&str, RequestChange); 12] = [
        ("invalid_search", |r| {
            r.username_prefix = Some("a%".to_owned());
        }),
        ("invalid_page", |r| r.page = 0),
        ("invalid_page", |r| r.page = -1),
        ("invalid_page", |r| r.per_page = 0),
        ("invalid_page", |r| r.per_page = 101),
        ("invalid_sort", |r| r.sort_by = 9),
        ("invalid_sex", |r| r.sex = Some("x".to_owned())),
        ("invalid_rating", |r| r.min_rating_hundredths = Some(501)),
        ("invalid_rating", |r| {
            r.min_rating_hundredths = Some(400);
            r.max_rating_hundredths = Some(300);
        }),
        ("invalid_interests", |r| {
            r.interests = vec!["a\0".to_owned()];
        }),
        ("invalid_language", |r| r.language = Some("a\0".to_owned())),
        ("invalid_cursor", |r| r.cursor = Some("nonsense".to_owned())),
    ];
    let profile = TestProfile::start().await;
    for (name, break_request) in cases {
        let mut request = first_page(0);
        break_request(&mut request);
        let refused = try_list_page(&profile, request).await.expect_err(name);
        assert_eq!(refused, refusal(Code::InvalidArgument, name));
    }
}

/// Filters that leave many listeners read them in order from an index, so that only the page itself is sorted.
#[tokio::test]
async fn no_page_of_a_long_feed_scans_a_whole_table() {
    let profile = TestProfile::start().await;
    fill_long_feed(&profile).await;
    let filter_by = |change: fn(&mut FeedFilter)| {
        let mut filter = FeedFilter::default();
        change(&mut filter);
        filter
    };
    let filters = [
        (true, filter_by(|_| ())),
        (true, filter_by(|f| f.online_only = true)),
        (true, filter_by(|f| f.available_only = true)),
        (true, filter_by(|f| f.sex = Some(Sex::Female))),
        (false, filter_by(|f| f.sex = Some(Sex::Other))),
        (false, filter_by(|f| f.min_rating_hundredths = Some(495))),
        (false, filter_by(|f| f.max_rating_hundredths = Some(5))),
        (false, filter_by(|f| f.interests = vec!["topic 7".into()])),
        (false, filter_by(|f| f.language = Some("ta".into()))),
        (false, filter_by(|f| f.language = Some("ta-IN".into()))),
        (
            true,
            filter_by(|f| f.username_prefix = Some("listener".into())),
        ),
        (
            false,
            filter_by(|f| f.username_prefix = Some("listener777".into())),
        ),
    ];
    for (leaves_many, filter) in filters {
        for (sort, key) in [
            (FeedSortKey::Rating, 250),
            (FeedSortKey::Online, 1),
            (FeedSortKey::Recent, 50_000_000_000),
        ] {
            let after = FeedPagePosition {
                key,
                user_id: 50_000,
            };
            for start in [FeedPageStart::Page(1), FeedPageStart::After(after)] {
                let plan = explain(&profile, &filter, sort, start).await;
                assert!(!plan.contains("Seq Scan"), "{filter:?} {sort:?}: {plan}");
                let (_, page) = plan.split_once("Limit").expect("a page is limited");
                let sorts = page.contains("Sort Key");
                assert!(!(leaves_many && sorts), "{filter:?} {sort:?}: {plan}");
            }
        }
    }
}

async fn fill_long_feed(profile: &TestProfile) {
    for statement in [
        "INSERT INTO profile.users (username, phone, sex, dob, rating, interests, preferred_language)
         SELECT 'listener' || n, '+91' || 6000000000 + n,
                CASE WHEN n % 100 = 0 THEN 'other' WHEN n % 2 = 0 THEN 'female' ELSE 'male' END,
                '1999-12-31', n % 501 / 100.0, ARRAY['topic ' || n % 500],
                CASE WHEN n % 200 = 0 THEN 'ta' ELSE 'hi' END
         FROM generate_series(1, 100000) AS n",
        "INSERT INTO profile.user_roles (user_id, role) SELECT user_id, 'listener' FROM profile.users",
        "UPDATE profile.feed_listeners SET is_online = user_id % 3 = 0, is_busy = user_id % 2 = 0,
                last_seen = to_timestamp(user_id % 100000)",
        "ANALYZE",
    ] {
        sqlx::query(statement)
            .execute(&profile.database.superuser)
            .await
            .expect("filled");
    }
}

async fn explain(
    profile: &TestProfile,
    filter: &FeedFilter,
    sort: FeedSortKey,
    start: FeedPageStart,
) -> String {
    let query = FeedPageQuery {
        viewer_id: 1,
        filter: filter.clone(),
        order: FeedOrder {
            sort,
            is_ascending: false,
        },
        start,
        per_page: 20,
    };
    let lines: Vec<String> = feed_pages::page_statement("EXPLAIN ", &query, &[1, 2, 3])
        .build_query_scalar()
        .persistent(false)
        .fetch_all(&profile.database.app_pool)
        .await
        .expect("a plan");
    lines.join("\n")
}

#[tokio::test]
async fn statistics_count_all_listeners() {
    let profile = TestProfile::start().await;
    register_four_listeners(&profile).await;
    let request = Request::new(pb::GetFeedStatsRequest {});
    let stats = into_result(profile.api.get_feed_stats(request).await).expect("counted");
    let counts = (
        stats.total_listeners,
        stats.online_listeners,
        stats.busy_listeners,
        stats.available_listeners,
    );
    assert_eq!(counts, (4, 3, 1, 2));
    // The mean of 4.35, 5.00 and 2.00: a listener without a rating does not count.
    assert_eq!(stats.average_rating_hundredths, Some(378));
    let top: Vec<_> = stats.top_interests.iter().take(2).collect();
    assert_eq!((top[0].interest.as_str(), top[0].count), ("talking", 4));
    assert_eq!((top[1].interest.as_str(), top[1].count), ("films", 2));
    assert_eq!((stats.sexes["female"], stats.sexes["other"]), (2, 1));
    assert_eq!((stats.languages["hi"], stats.languages["en"]), (2, 2));
}
