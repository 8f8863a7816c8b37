//! The feed in memory: every listener, a set of listeners for each value of a filter, and the orders of pages. It
//! answers what the statements of `store/feed_pages.rs` answer, and knows neither the database nor the time.

mod filter_sets;
mod listener;
mod listener_set;
mod orders;
mod selection;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use filter_sets::FilterSets;
pub use listener::IndexedListener;
use listener::PackedListener;
use listener_set::WalkStart;
use orders::{KeyList, PageWindow};
use selection::ListenerSelection;

use super::feed::{FeedListener, FeedListenerCounts, FeedPagePosition, FeedPageQuery, FeedSortKey};

/// A selection of at most so many listeners is sorted instead of read from the order by rating, which would visit five
/// hundred ratings.
const SORTED_MAX: u64 = 500;
/// Sorting a listener takes as long as passing so many in an order.
const SORT_COST: u64 = 6;

/// The index of the feed.
#[derive(Debug, Default)]
pub struct FeedIndex {
    listeners: HashMap<i64, Box<PackedListener>>,
    sets: FilterSets,
    last_seen: KeyList,
}

/// A page as a viewer may see it.
#[derive(Clone, Debug)]
pub struct FeedIndexQuery<'a> {
    pub page: &'a FeedPageQuery,
    /// The interests of the filter as they are compared (`profile.interest_keys`).
    pub interest_keys: &'a [String],
    /// Users who are hidden from the viewer.
    pub hidden: &'a [i64],
}

/// The listeners of a page.
#[derive(Clone, Debug)]
pub struct FeedIndexPage {
    /// The page, and one listener more if there is a next one.
    pub listeners: Vec<FeedListener>,
    /// The listeners on all pages.
    pub counts: FeedListenerCounts,
}

impl FeedIndex {
    pub fn len(&self) -> usize {
        self.listeners.len()
    }

    pub fn is_empty(&self) -> bool {
        self.listeners.is_empty()
    }

    /// Inserts a listener or replaces their values.
    pub fn upsert(&mut self, row: &IndexedListener) {
        let user_id = row.listener.user_id;
        let packed = PackedListener::pack(row);
        match self.listeners.get(&user_id) {
            Some(known) if **known == packed => return,
            Some(_) => self.remove(user_id),
            None => {}
        }
        self.sets.link(user_id, &packed);
        self.last_seen.insert(packed.last_seen_key, user_id);
        self.listeners.insert(user_id, Box::new(packed));
    }

    /// Removes a listener, if the index has them.
    pub fn remove(&mut self, user_id: i64) {
        if let Some(packed) = self.listeners.remove(&user_id) {
            self.sets.unlink(user_id, &packed);
            self.last_seen.remove(packed.last_seen_key, user_id);
        }
    }

    /// Replaces these listeners by their rows, and removes those who have none.
    pub fn replace(&mut self, user_ids: &[i64], rows: &[IndexedListener]) {
        let mut replaced: HashSet<i64> = user_ids.iter().copied().collect();
        for row in rows {
            if replaced.remove(&row.listener.user_id) {
                self.upsert(row);
            }
        }
        for user_id in replaced {
            self.remove(user_id);
        }
    }

    /// Returns the listeners after `after`, up to `last` if it is given, who differ from `rows`, except those in
    /// `changed`.
    pub fn find_differences(
        &self,
        after: i64,
        last: Option<i64>,
        rows: &[IndexedListener],
        changed: &HashSet<i64>,
    ) -> Vec<i64> {
        let ids = rows.iter().map(|row| row.listener.user_id);
        let present: HashSet<i64> = ids.collect();
        let mut different = self.list_ids(after, last);
        different.retain(|user_id| !present.contains(user_id));
        let wrong = rows.iter().filter(|row| !self.matches(row));
        different.extend(wrong.map(|row| row.listener.user_id));
        different.retain(|user_id| !changed.contains(user_id));
        different
    }

    /// Returns whether the index has this listener with exactly these values.
    fn matches(&self, row: &IndexedListener) -> bool {
        let known = self.listeners.get(&row.listener.user_id);
        known.is_some_and(|known| **known == PackedListener::pack(row))
    }

    /// Lists the ids after one of them in ascending order, up to `last` if it is given.
    fn list_ids(&self, after: i64, last: Option<i64>) -> Vec<i64> {
        let start = WalkStart::After(after);
        let ids = self.sets.everyone.walk(true, start);
        ids.take_while(|id| last.is_none_or(|last| *id <= last))
            .collect()
    }

    /// Finds a page. Returns `None` for a search that finds too many names to be answered from the index.
    pub fn find_page(&self, query: &FeedIndexQuery<'_>) -> Option<FeedIndexPage> {
        let page = query.page;
        let selection = self
            .sets
            .select(&page.filter, query.interest_keys, query.hidden)?;
        let window = PageWindow::of(page);
        let positions = self.list_positions(page.order.sort, &selection, &window);
        Some(FeedIndexPage {
            listeners: self.unpack(&positions),
            counts: self.count(&selection),
        })
    }

    fn unpack(&self, positions: &[FeedPagePosition]) -> Vec<FeedListener> {
        let listeners = positions.iter().filter_map(|position| {
            let packed = self.listeners.get(&position.user_id)?;
            Some(packed.unpack(position.user_id, position.key))
        });
        listeners.collect()
    }

    fn list_positions(
        &self,
        sort: FeedSortKey,
        selection: &ListenerSelection<'_>,
        window: &PageWindow,
    ) -> Vec<FeedPagePosition> {
        let selected = selection.len();
        if window.offset() >= selected {
            return Vec::new();
        }
        match sort {
            FeedSortKey::Online => self.sets.availabilities.list(selection, window),
            FeedSortKey::Rating if selected <= SORTED_MAX => {
                self.sort(selection, window, |listener| listener.rating_key.into())
            }
            FeedSortKey::Rating => self.sets.ratings.list(selection, window),
            FeedSortKey::Recent if self.is_sorting_cheaper(selected, window) => {
                self.sort(selection, window, |listener| listener.last_seen_key)
            }
            FeedSortKey::Recent => self.last_seen.list(selection, window),
        }
    }

    /// Compares sorting the selection with passing all listeners in their order until the window is full.
    fn is_sorting_cheaper(&self, selected: u64, window: &PageWindow) -> bool {
        let sorting = selected.saturating_mul(selected).saturating_mul(SORT_COST);
        let passing = window.reach().saturating_mul(self.sets.everyone.len());
        sorting < passing
    }

    fn sort(
        &self,
        selection: &ListenerSelection<'_>,
        window: &PageWindow,
        key: impl Fn(&PackedListener) -> i64,
    ) -> Vec<FeedPagePosition> {
        let positions = selection.iter().filter_map(|user_id| {
            let key = key(self.listeners.get(&user_id)?);
            Some(FeedPagePosition { key, user_id })
        });
        window.sort(positions.collect())
    }

    fn count(&self, selection: &ListenerSelection<'_>) -> FeedListenerCounts {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        FeedListenerCounts {
            total: number(selection.len()),
            online: number(selection.count_in(&self.sets.online)),
            available: number(selection.count_in(&self.sets.find_available())),
        }
    }
}
