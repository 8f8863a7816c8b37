//! The orders of the feed: listeners by a key, and by their ids among equals.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::listener_set::{ListenerSet, WalkStart};
use super::selection::ListenerSelection;
use crate::domain::feed::{FeedPagePosition, FeedPageQuery, FeedPageStart};

/// The part of an order that is a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct PageWindow {
    pub(super) is_ascending: bool,
    pub(super) start: PageWindowStart,
    /// The most listeners in the window.
    pub(super) limit: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum PageWindowStart {
    /// After this number of listeners.
    Offset(u64),
    /// After this position.
    After(FeedPagePosition),
}

/// An order by a key with few values: the set of listeners for each value.
#[derive(Debug, Default)]
pub(super) struct KeyBuckets {
    buckets: BTreeMap<i64, ListenerSet>,
}

/// An order by a key that is different for almost every listener.
#[derive(Debug, Default)]
pub(super) struct KeyList {
    keys: BTreeSet<(i64, i64)>,
}

impl PageWindow {
    /// The window of a page with one listener more, which shows whether there is a next page.
    pub(super) fn of(query: &FeedPageQuery) -> Self {
        Self {
            is_ascending: query.order.is_ascending,
            start: match query.start {
                FeedPageStart::Page(_) => PageWindowStart::Offset(query.offset().unsigned_abs()),
                FeedPageStart::After(position) => PageWindowStart::After(position),
            },
            limit: usize::try_from(query.per_page).unwrap_or(usize::MAX) + 1,
        }
    }

    pub(super) fn offset(&self) -> u64 {
        match self.start {
            PageWindowStart::Offset(offset) => offset,
            PageWindowStart::After(_) => 0,
        }
    }

    /// Returns the number of listeners up to the end of the window, counted from its start or its cursor.
    pub(super) fn reach(&self) -> u64 {
        self.offset().saturating_add(self.limit as u64)
    }

    fn includes(&self, position: FeedPagePosition) -> bool {
        let PageWindowStart::After(after) = self.start else {
            return true;
        };
        let (here, after) = ((position.key, position.user_id), (after.key, after.user_id));
        if self.is_ascending {
            here > after
        } else {
            here < after
        }
    }

    /// Sorts positions and returns those in the window.
    pub(super) fn sort(&self, mut positions: Vec<FeedPagePosition>) -> Vec<FeedPagePosition> {
        positions.retain(|position| self.includes(*position));
        positions.sort_unstable_by_key(|position| (position.key, position.user_id));
        if !self.is_ascending {
            positions.reverse();
        }
        let offset = usize::try_from(self.offset()).unwrap_or(usize::MAX);
        positions
            .into_iter()
            .skip(offset)
            .take(self.limit)
            .collect()
    }
}

impl KeyBuckets {
    pub(super) fn insert(&mut self, key: i64, user_id: i64) {
        self.buckets.entry(key).or_default().insert(user_id);
    }

    pub(super) fn remove(&mut self, key: i64, user_id: i64) {
        if let Some(bucket) = self.buckets.get_mut(&key) {
            bucket.remove(user_id);
            if bucket.is_empty() {
                self.buckets.remove(&key);
            }
        }
    }

    pub(super) fn get(&self, key: i64) -> Cow<'_, ListenerSet> {
        let bucket = self.buckets.get(&key);
        bucket.map_or_else(|| Cow::Owned(ListenerSet::default()), Cow::Borrowed)
    }

    /// Returns the listeners whose keys are in the range. `everyone` is the union of all buckets, from which the others
    /// are subtracted if they are fewer.
    pub(super) fn find_range(&self, min: i64, max: i64, everyone: &ListenerSet) -> ListenerSet {
        let is_inside = |key: &i64| (min..=max).contains(key);
        let (inside, outside): (Vec<_>, Vec<_>) =
            self.buckets.iter().partition(|(key, _)| is_inside(key));
        let count = |sets: &[(&i64, &ListenerSet)]| sets.iter().map(|(_, set)| set.len()).sum();
        let (inside_len, outside_len): (u64, u64) = (count(&inside), count(&outside));
        let unite = |sets: Vec<(&i64, &'_ ListenerSet)>| {
            ListenerSet::union(sets.into_iter().map(|(_, set)| set))
        };
        if inside_len <= outside_len {
            unite(inside)
        } else {
            everyone.difference(&unite(outside))
        }
    }

    /// Lists the selected listeners in the window.
    pub(super) fn list(
        &self,
        selection: &ListenerSelection<'_>,
        window: &PageWindow,
    ) -> Vec<FeedPagePosition> {
        let mut found = Vec::new();
        let mut skipped = window.offset();
        for (&key, bucket) in self.buckets_from(window) {
            if skipped > 0 {
                let selected = selection.count_in(bucket);
                if selected <= skipped {
                    skipped -= selected;
                    continue;
                }
            }
            let start = match window.start {
                PageWindowStart::After(after) if after.key == key => {
                    WalkStart::After(after.user_id)
                }
                _ => WalkStart::Skip(skipped),
            };
            skipped = 0;
            let selected = selection.restrict(bucket);
            let ids = selected.walk(window.is_ascending, start);
            let positions = ids.map(|user_id| FeedPagePosition { key, user_id });
            found.extend(positions.take(window.limit - found.len()));
            if found.len() == window.limit {
                break;
            }
        }
        found
    }

    /// Returns the buckets in the direction of the window, from that of its cursor on.
    fn buckets_from(
        &self,
        window: &PageWindow,
    ) -> Box<dyn Iterator<Item = (&i64, &ListenerSet)> + '_> {
        match (window.start, window.is_ascending) {
            (PageWindowStart::Offset(_), true) => Box::new(self.buckets.iter()),
            (PageWindowStart::Offset(_), false) => Box::new(self.buckets.iter().rev()),
            (PageWindowStart::After(after), true) => Box::new(self.buckets.range(after.key..)),
            (PageWindowStart::After(after), false) => {
                Box::new(self.buckets.range(..=after.key).rev())
            }
        }
    }
}

impl KeyList {
    pub(super) fn insert(&mut self, key: i64, user_id: i64) {
        self.keys.insert((key, user_id));
    }

    pub(super) fn remove(&mut self, key: i64, user_id: i64) {
        self.keys.remove(&(key, user_id));
    }

    /// Lists the selected listeners in the window.
    pub(super) fn list(
        &self,
        selection: &ListenerSelection<'_>,
        window: &PageWindow,
    ) -> Vec<FeedPagePosition> {
        let offset = usize::try_from(window.offset()).unwrap_or(usize::MAX);
        self.keys_from(window)
            .filter(|(_, user_id)| selection.contains(*user_id))
            .skip(offset)
            .take(window.limit)
            .map(|&(key, user_id)| FeedPagePosition { key, user_id })
            .collect()
    }

    fn keys_from(&self, window: &PageWindow) -> Box<dyn Iterator<Item = &(i64, i64)> + '_> {
        let after = match window.start {
            PageWindowStart::Offset(_) => Bound::Unbounded,
            PageWindowStart::After(after) => Bound::Excluded((after.key, after.user_id)),
        };
        if window.is_ascending {
            Box::new(self.keys.range((after, Bound::Unbounded)))
        } else {
            Box::new(self.keys.range((Bound::Unbounded, after)).rev())
        }
    }
}
