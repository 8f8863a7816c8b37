//! The sets of listeners by which the feed is filtered.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::listener::PackedListener;
use super::listener_set::ListenerSet;
use super::orders::KeyBuckets;
use super::selection::ListenerSelection;
use crate::domain::CallType;
use crate::domain::feed::FeedFilter;

/// The availability of listeners who can be called.
const AVAILABLE: i64 = 2;
/// The most names that a search may find in the index; Postgres answers a search that finds more.
const SEARCHED_NAMES_MAX: usize = 10_000;

/// Sets of listeners by a name, such as an interest.
type NamedSets = BTreeMap<Box<str>, ListenerSet>;

/// A set of listeners for each value of a filter.
#[derive(Debug, Default)]
pub(super) struct FilterSets {
    pub(super) everyone: ListenerSet,
    pub(super) online: ListenerSet,
    pub(super) ratings: KeyBuckets,
    pub(super) availabilities: KeyBuckets,
    verified: ListenerSet,
    audio: ListenerSet,
    video: ListenerSet,
    sexes: NamedSets,
    languages: NamedSets,
    interests: NamedSets,
    /// Names in lower case, in the order of their bytes.
    usernames: BTreeSet<(Box<str>, i64)>,
}

impl FilterSets {
    /// Enters a listener into the sets.
    pub(super) fn link(&mut self, user_id: i64, listener: &PackedListener) {
        self.everyone.insert(user_id);
        self.online.set(user_id, listener.is_online);
        self.verified.set(user_id, listener.is_verified);
        self.audio.set(user_id, listener.audio_enabled);
        self.video.set(user_id, listener.video_enabled);
        let texts = listener.texts();
        insert_named(&mut self.sexes, texts.sex_key, user_id);
        insert_named(&mut self.languages, texts.language_tag, user_id);
        for key in texts.interest_keys {
            insert_named(&mut self.interests, key, user_id);
        }
        self.usernames.insert((texts.username_key.into(), user_id));
        self.ratings.insert(listener.rating_key.into(), user_id);
        self.availabilities
            .insert(listener.availability.into(), user_id);
    }

    /// Removes a listener from the sets.
    pub(super) fn unlink(&mut self, user_id: i64, listener: &PackedListener) {
        for set in [
            &mut self.everyone,
            &mut self.online,
            &mut self.verified,
            &mut self.audio,
            &mut self.video,
        ] {
            set.remove(user_id);
        }
        let texts = listener.texts();
        remove_named(&mut self.sexes, texts.sex_key, user_id);
        remove_named(&mut self.languages, texts.language_tag, user_id);
        for key in texts.interest_keys {
            remove_named(&mut self.interests, key, user_id);
        }
        self.usernames.remove(&(texts.username_key.into(), user_id));
        self.ratings.remove(listener.rating_key.into(), user_id);
        self.availabilities
            .remove(listener.availability.into(), user_id);
    }

    pub(super) fn find_available(&self) -> Cow<'_, ListenerSet> {
        self.availabilities.get(AVAILABLE)
    }

    /// Selects listeners for a viewer; returns `None` if the search finds more than [`SEARCHED_NAMES_MAX`] names.
    /// `interest_keys` are the interests of the filter as they are compared.
    pub(super) fn select(
        &self,
        filter: &FeedFilter,
        interest_keys: &[String],
        hidden: &[i64],
    ) -> Option<ListenerSelection<'_>> {
        let mut conditions = self.list_conditions(filter, interest_keys);
        if let Some(prefix) = &filter.username_prefix {
            conditions.push(Cow::Owned(self.find_usernames(prefix)?));
        }
        // The smallest set comes first, so that the results in between are small.
        conditions.sort_by_key(|condition| condition.len());
        let matching = conditions
            .into_iter()
            .reduce(|all, next| Cow::Owned(all.intersection(&next)));
        Some(ListenerSelection::new(&self.everyone, matching, hidden))
    }

    /// Returns the set of each condition of the filter except the search.
    fn list_conditions(
        &self,
        filter: &FeedFilter,
        interest_keys: &[String],
    ) -> Vec<Cow<'_, ListenerSet>> {
        let mut conditions = Vec::new();
        if filter.available_only {
            conditions.push(self.find_available());
        } else if filter.online_only {
            conditions.push(Cow::Borrowed(&self.online));
        }
        if filter.verified_only {
            conditions.push(Cow::Borrowed(&self.verified));
        }
        match filter.call_type {
            Some(CallType::Audio) => conditions.push(Cow::Borrowed(&self.audio)),
            Some(CallType::Video) => conditions.push(Cow::Borrowed(&self.video)),
            None => {}
        }
        if let Some(sex) = filter.sex {
            conditions.push(find_named(&self.sexes, sex.name()));
        }
        let (min, max) = (filter.min_rating_hundredths, filter.max_rating_hundredths);
        if min.is_some() || max.is_some() {
            let (min, max) = (
                min.map_or(i64::MIN, i64::from),
                max.map_or(i64::MAX, i64::from),
            );
            let rated = self.ratings.find_range(min, max, &self.everyone);
            conditions.push(Cow::Owned(rated));
        }
        if !filter.interests.is_empty() {
            conditions.push(self.find_interested(interest_keys));
        }
        if let Some(tag) = &filter.language {
            conditions.push(self.find_speakers(&tag.to_ascii_lowercase()));
        }
        conditions
    }

    fn find_interested(&self, interest_keys: &[String]) -> Cow<'_, ListenerSet> {
        if let [key] = interest_keys {
            return find_named(&self.interests, key);
        }
        let sets = interest_keys.iter();
        let sets = sets.filter_map(|key| self.interests.get(key.as_str()));
        Cow::Owned(ListenerSet::union(sets))
    }

    /// Finds the listeners with this language tag or a longer one that begins with it (RFC 4647, 3.3.1).
    fn find_speakers(&self, tag: &str) -> Cow<'_, ListenerSet> {
        let is_longer_tag = |name: &str| {
            let rest = name.strip_prefix(tag);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        };
        let from_tag = (Bound::Included(tag), Bound::Unbounded);
        let from_tag = self.languages.range::<str, _>(from_tag);
        let mut sets: Vec<&ListenerSet> = from_tag
            .take_while(|(name, _)| name.starts_with(tag))
            .filter(|(name, _)| is_longer_tag(name))
            .map(|(_, set)| set)
            .collect();
        match sets.pop() {
            Some(only) if sets.is_empty() => Cow::Borrowed(only),
            last => Cow::Owned(ListenerSet::union(sets.into_iter().chain(last))),
        }
    }

    fn find_usernames(&self, prefix: &str) -> Option<ListenerSet> {
        let first = (Box::from(prefix), i64::MIN);
        let mut found = Vec::new();
        for (_, user_id) in self
            .usernames
            .range(first..)
            .take_while(|(name, _)| name.starts_with(prefix))
        {
            if found.len() == SEARCHED_NAMES_MAX {
                return None;
            }
            found.push(*user_id);
        }
        Some(found.into_iter().collect())
    }
}

fn find_named<'a>(sets: &'a NamedSets, name: &str) -> Cow<'a, ListenerSet> {
    let set = sets.get(name);
    set.map_or_else(|| Cow::Owned(ListenerSet::default()), Cow::Borrowed)
}

fn insert_named(sets: &mut NamedSets, name: &str, user_id: i64) {
    if let Some(set) = sets.get_mut(name) {
        set.insert(user_id);
    } else {
        sets.insert(name.into(), [user_id].into_iter().collect());
    }
}

/// Removes a member, and the set with its last one.
fn remove_named(sets: &mut NamedSets, name: &str, user_id: i64) {
    if let Some(set) = sets.get_mut(name) {
        set.remove(user_id);
        if set.is_empty() {
            sets.remove(name);
        }
    }
}
