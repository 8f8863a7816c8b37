//! The listeners that a filter selects for one viewer.

use std::borrow::Cow;

use super::listener_set::ListenerSet;

/// The listeners that a filter selects, without those who are hidden from the viewer.
pub(super) struct ListenerSelection<'a> {
    selected: Cow<'a, ListenerSet>,
    /// Whether every listener is selected, so that nothing has to be compared.
    is_everyone: bool,
}

impl<'a> ListenerSelection<'a> {
    /// Selects the members of `matching`, or `everyone` without it, except those in `hidden`.
    pub(super) fn new(
        everyone: &'a ListenerSet,
        matching: Option<Cow<'a, ListenerSet>>,
        hidden: &[i64],
    ) -> Self {
        let is_filtered = matching.is_some();
        let matching = matching.unwrap_or(Cow::Borrowed(everyone));
        let hidden = hidden.iter().copied();
        let hidden: ListenerSet = hidden
            .filter(|user_id| matching.contains(*user_id))
            .collect();
        if hidden.is_empty() {
            return Self {
                selected: matching,
                is_everyone: !is_filtered,
            };
        }
        Self {
            selected: Cow::Owned(matching.difference(&hidden)),
            is_everyone: false,
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.selected.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        self.selected.iter()
    }

    pub(super) fn contains(&self, user_id: i64) -> bool {
        self.is_everyone || self.selected.contains(user_id)
    }

    /// Counts the selected members of a set.
    pub(super) fn count_in(&self, set: &ListenerSet) -> u64 {
        if self.is_everyone {
            set.len()
        } else {
            set.intersection_len(&self.selected)
        }
    }

    /// Returns the selected members of a set.
    pub(super) fn restrict<'b>(&self, set: &'b ListenerSet) -> Cow<'b, ListenerSet> {
        if self.is_everyone {
            Cow::Borrowed(set)
        } else {
            Cow::Owned(set.intersection(&self.selected))
        }
    }
}
