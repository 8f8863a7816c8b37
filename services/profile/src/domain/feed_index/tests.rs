//! The index answers like a search through all listeners, whatever has been inserted, changed and removed before.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::DateTime;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use super::*;
use crate::domain::feed::{FeedFilter, FeedOrder, FeedPageStart};
use crate::domain::{CallType, Sex};

const LISTENERS: usize = 1_500;
const QUERIES: usize = 400;
const SEXES: [&str; 3] = ["male", "female", "other"];
const LANGUAGES: [&str; 5] = ["hi", "hi-IN", "hin", "en", "ta"];
const INTERESTS: [&str; 5] = ["music", "films", "sport", "travel", "books"];
const SORTS: [FeedSortKey; 3] = [
    FeedSortKey::Rating,
    FeedSortKey::Online,
    FeedSortKey::Recent,
];

/// The listeners of a test, which are searched one by one.
type ListenerTable = BTreeMap<i64, IndexedListener>;

fn pick<'a>(random: &mut StdRng, names: &[&'a str]) -> &'a str {
    names.choose(random).copied().expect("not empty")
}

fn random_listener(random: &mut StdRng, user_id: i64) -> IndexedListener {
    let (is_online, is_busy) = (random.random_bool(0.4), random.random_bool(0.4));
    let accepting_calls = random.random_bool(0.9);
    let rating = random
        .random_bool(0.7)
        .then(|| random.random_range(0..=500));
    let last_seen = random.random_bool(0.8).then(|| {
        let second = random.random_range(0..400);
        DateTime::from_timestamp(second, 5_000).expect("valid")
    });
    let language = pick(random, &LANGUAGES);
    let interests = [pick(random, &INTERESTS), pick(random, &INTERESTS)];
    let interests: BTreeSet<&str> = interests.into_iter().collect();
    let sex = pick(random, &SEXES);
    let username = format!("{}_{user_id}", pick(random, &["Asha", "ash", "ravi"]));
    let username_key = username.to_lowercase();
    let listener = FeedListener {
        user_id,
        username,
        sex: sex.to_owned(),
        bio: random.random_bool(0.5).then(|| "Hello".to_owned()),
        interests: interests.iter().map(|text| text.to_uppercase()).collect(),
        profile_image_url: random.random_bool(0.5).then(String::new),
        preferred_language: language.to_owned(),
        country: random.random_bool(0.5).then(|| "IN".to_owned()),
        rating_hundredths: rating,
        roles: vec!["listener".to_owned()],
        is_online,
        is_busy,
        wait_time: is_busy.then_some(30),
        last_seen,
        call_count: random.random_range(0..9),
        total_call_secs: random.random_range(0..999),
        answer_percent: Some(75),
        is_verified: random.random_bool(0.5),
        accepting_calls,
        audio_enabled: random.random_bool(0.8),
        video_enabled: random.random_bool(0.8),
        sort_key: 0,
    };
    IndexedListener {
        rating_key: rating.map_or(0, i64::from),
        availability: match (is_online, is_busy || !accepting_calls) {
            (false, _) => 0,
            (true, true) => 1,
            (true, false) => 2,
        },
        last_seen_key: last_seen.map_or(0, |at| at.timestamp_micros()),
        sex_key: sex.to_owned(),
        interest_keys: interests.into_iter().map(str::to_owned).collect(),
        language_tag: language.to_lowercase(),
        username_key,
        listener,
    }
}

/// Fills an index and a table alike, with ids far apart and close together.
fn fill_both(random: &mut StdRng) -> (FeedIndex, ListenerTable) {
    let mut index = FeedIndex::default();
    let mut table = ListenerTable::new();
    for _ in 0..LISTENERS * 2 {
        let base = [0, 70_000, 1 << 33].choose(random).expect("not empty");
        let user_id = base + random.random_range(0..800);
        if random.random_bool(0.2) {
            index.remove(user_id);
            table.remove(&user_id);
        } else {
            let row = random_listener(random, user_id);
            index.upsert(&row);
            table.insert(user_id, row);
        }
    }
    (index, table)
}

fn random_filter(random: &mut StdRng) -> FeedFilter {
    let min = random.random_bool(0.2).then(|| random.random_range(0..400));
    FeedFilter {
        online_only: random.random_bool(0.2),
        available_only: random.random_bool(0.2),
        call_type: [None, None, Some(CallType::Audio), Some(CallType::Video)]
            .choose(random)
            .copied()
            .flatten(),
        verified_only: random.random_bool(0.2),
        sex: [None, None, None, Some(Sex::Female)]
            .choose(random)
            .copied()
            .flatten(),
        min_rating_hundredths: min,
        max_rating_hundredths: random
            .random_bool(0.2)
            .then(|| random.random_range(min.unwrap_or(0)..=500)),
        interests: match random.random_range(0..5) {
            0 => vec!["music".to_owned()],
            1 => vec!["films".to_owned(), "nothing".to_owned(), "sport".to_owned()],
            _ => vec![],
        },
        language: random
            .random_bool(0.2)
            .then(|| pick(random, &["hi", "HI-in", "xx"]).to_owned()),
        username_prefix: random
            .random_bool(0.2)
            .then(|| pick(random, &["ash", "asha_1", "x"]).to_owned()),
    }
}

fn random_query(random: &mut StdRng, table: &ListenerTable) -> FeedPageQuery {
    let order = FeedOrder {
        sort: *SORTS.choose(random).expect("not empty"),
        is_ascending: random.random_bool(0.5),
    };
    let ids: Vec<i64> = table.keys().copied().collect();
    let user_id = ids.choose(random).copied().unwrap_or_default() + random.random_range(-1..=1);
    let key = table.get(&user_id).map_or(1, |row| key_of(order.sort, row));
    FeedPageQuery {
        viewer_id: 1,
        filter: random_filter(random),
        order,
        start: if random.random_bool(0.5) {
            FeedPageStart::Page(random.random_range(1..30))
        } else {
            FeedPageStart::After(FeedPagePosition { key, user_id })
        },
        per_page: random.random_range(1..=100),
    }
}

fn key_of(sort: FeedSortKey, row: &IndexedListener) -> i64 {
    match sort {
        FeedSortKey::Rating => row.rating_key,
        FeedSortKey::Online => row.availability,
        FeedSortKey::Recent => row.last_seen_key,
    }
}

fn is_match(filter: &FeedFilter, row: &IndexedListener) -> bool {
    let listener = &row.listener;
    let rating = row.rating_key;
    let finds_language = |tag: &String| {
        let tag = tag.to_lowercase();
        row.language_tag == tag || row.language_tag.starts_with(&format!("{tag}-"))
    };
    (!filter.online_only || listener.is_online)
        && (!filter.available_only || row.availability == 2)
        && (!filter.verified_only || listener.is_verified)
        && match filter.call_type {
            Some(CallType::Audio) => listener.audio_enabled,
            Some(CallType::Video) => listener.video_enabled,
            None => true,
        }
        && filter.sex.is_none_or(|sex| sex.name() == row.sex_key)
        && (filter.min_rating_hundredths).is_none_or(|min| rating >= i64::from(min))
        && (filter.max_rating_hundredths).is_none_or(|max| rating <= i64::from(max))
        && (filter.interests.is_empty()
            || (filter.interests.iter()).any(|key| row.interest_keys.contains(key)))
        && filter.language.as_ref().is_none_or(finds_language)
        && (filter.username_prefix.as_ref()).is_none_or(|name| row.username_key.starts_with(name))
}

/// Returns the ids of the page and one more, and the counts.
fn search(
    table: &ListenerTable,
    query: &FeedPageQuery,
    hidden: &[i64],
) -> (Vec<i64>, FeedListenerCounts) {
    let is_visible = |row: &&IndexedListener| {
        !hidden.contains(&row.listener.user_id) && is_match(&query.filter, row)
    };
    let matching: Vec<&IndexedListener> = table.values().filter(is_visible).collect();
    let count = |least: i64| {
        let counted = matching.iter().filter(|row| row.availability >= least);
        i64::try_from(counted.count()).expect("small")
    };
    let sort = query.order.sort;
    let mut places: Vec<(i64, i64)> = matching
        .iter()
        .map(|row| (key_of(sort, row), row.listener.user_id))
        .collect();
    places.sort_unstable();
    if !query.order.is_ascending {
        places.reverse();
    }
    if let FeedPageStart::After(after) = query.start {
        let after = (after.key, after.user_id);
        places.retain(|place| (*place > after) == query.order.is_ascending && *place != after);
    }
    let offset = usize::try_from(query.offset()).expect("small");
    let page = places.into_iter().skip(offset);
    let page = page.take(query.per_page as usize + 1);
    let counts = FeedListenerCounts {
        total: count(0),
        online: count(1),
        available: count(2),
    };
    (page.map(|(_, user_id)| user_id).collect(), counts)
}

#[test]
fn the_index_finds_what_a_search_through_all_listeners_finds() {
    for seed in 0..4 {
        let random = &mut StdRng::seed_from_u64(seed);
        let (index, table) = fill_both(random);
        assert_eq!(index.len(), table.len());
        for _ in 0..QUERIES {
            let query = random_query(random, &table);
            let hidden: Vec<i64> = (0..random.random_range(0..3))
                .map(|_| random.random_range(0..800))
                .collect();
            let found = index.find_page(&FeedIndexQuery {
                page: &query,
                interest_keys: &query.filter.interests,
                hidden: &hidden,
            });
            let found = found.expect("few names");
            let ids = found.listeners.iter().map(|listener| listener.user_id);
            let ids: Vec<i64> = ids.collect();
            let expected = search(&table, &query, &hidden);
            assert_eq!((ids, found.counts), expected, "seed {seed}: {query:?}");
            for listener in found.listeners {
                let row = &table[&listener.user_id];
                let shown = FeedListener {
                    sort_key: key_of(query.order.sort, row),
                    ..row.listener.clone()
                };
                assert_eq!(format!("{listener:?}"), format!("{shown:?}"));
            }
        }
    }
}

#[test]
fn a_listener_takes_eighty_bytes_beside_the_texts() {
    assert!(size_of::<PackedListener>() <= 80);
}

#[test]
fn an_index_without_listeners_keeps_no_sets() {
    let random = &mut StdRng::seed_from_u64(5);
    let (mut index, table) = fill_both(random);
    for user_id in table.keys() {
        index.remove(*user_id);
    }
    let empty = format!("{:?}", FeedIndex::default());
    assert_eq!(format!("{index:?}"), empty);
}

#[test]
fn differences_from_rows_are_found_and_replaced_except_what_has_changed_since() {
    let mut index = FeedIndex::default();
    for user_id in [1, 2, 3, 4, 9] {
        let random = &mut StdRng::seed_from_u64(6);
        index.upsert(&random_listener(random, user_id));
    }
    // 2 differs, 3 is missing in the rows and 5 in the index; 4 has changed since, and 9 is beyond the range.
    let rows = [(6, 1), (7, 2), (7, 4), (7, 5)]
        .map(|(seed, user_id)| random_listener(&mut StdRng::seed_from_u64(seed), user_id));
    let changed = HashSet::from([4]);
    let wrong = index.find_differences(0, Some(5), &rows, &changed);
    assert_eq!(wrong, [3, 2, 5]);
    index.replace(&wrong, &rows);
    assert!(index.matches(&rows[1]) && index.matches(&rows[3]));
    assert!(!index.matches(&rows[2]));
    assert_eq!(index.list_ids(0, None), [1, 2, 4, 5, 9]);
    assert!(
        index
            .find_differences(0, Some(5), &rows, &changed)
            .is_empty()
    );
}
