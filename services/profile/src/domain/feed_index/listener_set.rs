//! Compressed sets of listeners in the order of their ids.

use roaring::{MultiOps, RoaringTreemap};

/// Flipping the sign of an id yields a number without sign in the same order.
const SIGN: u64 = 1 << 63;

/// A set of user ids. Dense sets take a bit for each id in their range, and sparse ones two bytes for each member.
#[derive(Clone, Debug, Default)]
pub(super) struct ListenerSet {
    bits: RoaringTreemap,
}

/// The place in a set at which a walk begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum WalkStart {
    /// After this number of members.
    Skip(u64),
    /// After the place of this id, whether or not it is a member.
    After(i64),
}

impl ListenerSet {
    pub(super) fn insert(&mut self, user_id: i64) {
        self.bits.insert(bit_of(user_id));
    }

    pub(super) fn remove(&mut self, user_id: i64) {
        self.bits.remove(bit_of(user_id));
    }

    /// Inserts the id or removes it.
    pub(super) fn set(&mut self, user_id: i64, is_member: bool) {
        if is_member {
            self.insert(user_id);
        } else {
            self.remove(user_id);
        }
    }

    pub(super) fn contains(&self, user_id: i64) -> bool {
        self.bits.contains(bit_of(user_id))
    }

    pub(super) fn len(&self) -> u64 {
        self.bits.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        Self {
            bits: &self.bits & &other.bits,
        }
    }

    pub(super) fn intersection_len(&self, other: &Self) -> u64 {
        self.bits.intersection_len(&other.bits)
    }

    pub(super) fn difference(&self, other: &Self) -> Self {
        Self {
            bits: &self.bits - &other.bits,
        }
    }

    pub(super) fn union<'a>(sets: impl Iterator<Item = &'a Self>) -> Self {
        let sets = sets.map(|set| &set.bits);
        Self { bits: sets.union() }
    }

    /// Returns the members in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = i64> {
        self.bits.iter().map(id_of)
    }

    /// Returns the members in the given direction from a place on.
    pub(super) fn walk(
        &self,
        is_ascending: bool,
        start: WalkStart,
    ) -> Box<dyn Iterator<Item = i64> + '_> {
        let first = match start {
            WalkStart::Skip(skipped) if is_ascending => self.bits.select(skipped),
            WalkStart::Skip(skipped) => (self.len().checked_sub(1))
                .and_then(|last| last.checked_sub(skipped))
                .and_then(|rank| self.bits.select(rank)),
            WalkStart::After(user_id) if is_ascending => bit_of(user_id).checked_add(1),
            WalkStart::After(user_id) => bit_of(user_id).checked_sub(1),
        };
        let Some(first) = first else {
            return Box::new(std::iter::empty());
        };
        let mut bits = self.bits.iter();
        if is_ascending {
            bits.advance_to(first);
            Box::new(bits.map(id_of))
        } else {
            bits.advance_back_to(first);
            Box::new(bits.rev().map(id_of))
        }
    }
}

impl FromIterator<i64> for ListenerSet {
    fn from_iter<I: IntoIterator<Item = i64>>(user_ids: I) -> Self {
        Self {
            bits: user_ids.into_iter().map(bit_of).collect(),
        }
    }
}

fn bit_of(user_id: i64) -> u64 {
    user_id.cast_unsigned() ^ SIGN
}

fn id_of(bit: u64) -> i64 {
    (bit ^ SIGN).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [i64; 6] = [-5, 0, 7, 70_000, 1 << 40, i64::MAX];

    fn walk(is_ascending: bool, start: WalkStart) -> Vec<i64> {
        let set: ListenerSet = IDS.into_iter().collect();
        set.walk(is_ascending, start).collect()
    }

    #[test]
    fn a_walk_has_the_order_of_the_ids() {
        let mut backwards = IDS;
        backwards.reverse();
        assert_eq!(walk(true, WalkStart::Skip(0)), IDS);
        assert_eq!(walk(false, WalkStart::Skip(0)), backwards);
    }

    #[test]
    fn a_walk_begins_after_a_number_of_members_or_after_an_id() {
        assert_eq!(walk(true, WalkStart::Skip(4)), [1 << 40, i64::MAX]);
        assert_eq!(walk(false, WalkStart::Skip(4)), [0, -5]);
        assert_eq!(walk(true, WalkStart::After(7)), [70_000, 1 << 40, i64::MAX]);
        assert_eq!(walk(false, WalkStart::After(8)), [7, 0, -5]);
        for start in [WalkStart::Skip(6), WalkStart::After(i64::MAX)] {
            assert!(walk(true, start).is_empty(), "{start:?}");
        }
        for start in [WalkStart::Skip(6), WalkStart::After(i64::MIN)] {
            assert!(walk(false, start).is_empty(), "{start:?}");
        }
        let none = ListenerSet::default();
        assert_eq!(none.walk(false, WalkStart::Skip(0)).next(), None);
    }
}
