//! Which events of an aggregate were told already.
//!
//! The stream drops an event that is published twice within minutes. One that comes again later, after an
//! outage or from an operator who publishes a span of time again, must not be told behind newer ones.

use std::collections::{HashMap, VecDeque};

/// Aggregates that are remembered. The oldest ones are forgotten first.
const AGGREGATES_MAX: usize = 50_000;

/// The newest event of each aggregate.
#[derive(Debug, Default)]
pub(super) struct EventOrder {
    newest: HashMap<Aggregate, u64>,
    /// The order in which they were remembered first.
    order: VecDeque<Aggregate>,
}

/// The aggregate of an event: the source's name, and an id there.
type Aggregate = (String, i64);

/// The place of an event among those of its source.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct EventPlace {
    aggregate: Aggregate,
    number: u64,
}

impl EventPlace {
    /// From the event's id, such as `calls-17`, and the id of its aggregate; none for what our relays have
    /// not published.
    pub(super) fn parse(event_id: &str, aggregate_id: &str) -> Option<Self> {
        let (source, number) = event_id.rsplit_once('-')?;
        Some(Self {
            aggregate: (source.to_owned(), aggregate_id.parse().ok()?),
            number: number.parse().ok()?,
        })
    }
}

impl EventOrder {
    /// Remembers an event; answers whether it is newer than all of its aggregate before it.
    pub(super) fn advance(&mut self, place: EventPlace) -> bool {
        let EventPlace { aggregate, number } = place;
        if let Some(newest) = self.newest.get_mut(&aggregate) {
            let is_newer = number > *newest;
            *newest = number.max(*newest);
            return is_newer;
        }
        if self.order.len() == AGGREGATES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.newest.remove(&oldest);
        }
        self.order.push_back(aggregate.clone());
        self.newest.insert(aggregate, number);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(event_id: &str, aggregate_id: i64) -> EventPlace {
        EventPlace::parse(event_id, &aggregate_id.to_string()).expect("an id of ours")
    }

    #[test]
    fn an_event_that_comes_again_or_behind_a_newer_one_is_not_new() {
        let mut order = EventOrder::default();
        assert!(order.advance(place("calls-5", 1)));
        assert!(order.advance(place("calls-9", 1)));
        assert!(!order.advance(place("calls-9", 1)));
        assert!(!order.advance(place("calls-7", 1)));
        assert!(order.advance(place("calls-10", 1)));
    }

    #[test]
    fn aggregates_and_sources_have_an_order_of_their_own() {
        let mut order = EventOrder::default();
        assert!(order.advance(place("calls-9", 1)));
        assert!(order.advance(place("calls-5", 2)));
        assert!(order.advance(place("wallet-5", 1)));
    }

    #[test]
    fn what_no_relay_of_ours_published_has_no_place() {
        assert_eq!(EventPlace::parse("stream", "1"), None);
        assert_eq!(EventPlace::parse("calls-x", "1"), None);
        assert_eq!(EventPlace::parse("calls-1", ""), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut order = EventOrder::default();
        for aggregate_id in 0..=AGGREGATES_MAX {
            order.advance(place(
                "calls-5",
                i64::try_from(aggregate_id).expect("small"),
            ));
        }
        assert_eq!(order.newest.len(), AGGREGATES_MAX);
        assert!(
            order.advance(place("calls-5", 0)),
            "the oldest is forgotten"
        );
    }
}
