//! The newest event of each aggregate, so that messages are written once and in order.
//!
//! The stream drops an event that is published twice within minutes. An event that is published again later, after
//! an outage or by an operator, must not cause a message after those of newer events.

use std::collections::{HashMap, VecDeque};

/// Aggregates that are remembered. The oldest ones are forgotten first.
const AGGREGATES_MAX: usize = 50_000;

/// The newest event of each aggregate.
#[derive(Debug, Default)]
pub(super) struct AggregateEventOrder {
    newest: HashMap<EventAggregate, u64>,
    /// Oldest first.
    order: VecDeque<EventAggregate>,
}

/// The name of the service that published an event, and the id of the aggregate there.
type EventAggregate = (String, i64);

/// The place of an event among those of its aggregate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct AggregateEventPlace {
    aggregate: EventAggregate,
    number: u64,
}

impl AggregateEventPlace {
    /// Parses the id of an event, such as `calls-17`, and the id of its aggregate. Returns `None` for a message that
    /// no outbox relay published.
    pub(super) fn parse(event_id: &str, aggregate_id: &str) -> Option<Self> {
        let (source, number) = event_id.rsplit_once('-')?;
        Some(Self {
            aggregate: (source.to_owned(), aggregate_id.parse().ok()?),
            number: number.parse().ok()?,
        })
    }
}

impl AggregateEventOrder {
    /// Records an event and returns whether it is newer than all earlier ones of its aggregate.
    pub(super) fn advance(&mut self, place: AggregateEventPlace) -> bool {
        let AggregateEventPlace { aggregate, number } = place;
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

    fn place(event_id: &str, aggregate_id: i64) -> AggregateEventPlace {
        AggregateEventPlace::parse(event_id, &aggregate_id.to_string()).expect("a valid id")
    }

    #[test]
    fn a_repeated_or_older_event_is_not_new() {
        let mut order = AggregateEventOrder::default();
        assert!(order.advance(place("calls-5", 1)));
        assert!(order.advance(place("calls-9", 1)));
        assert!(!order.advance(place("calls-9", 1)));
        assert!(!order.advance(place("calls-7", 1)));
        assert!(order.advance(place("calls-10", 1)));
    }

    #[test]
    fn each_aggregate_of_each_source_has_its_own_order() {
        let mut order = AggregateEventOrder::default();
        assert!(order.advance(place("calls-9", 1)));
        assert!(order.advance(place("calls-5", 2)));
        assert!(order.advance(place("wallet-5", 1)));
    }

    #[test]
    fn a_message_of_no_relay_has_no_place() {
        assert_eq!(AggregateEventPlace::parse("stream", "1"), None);
        assert_eq!(AggregateEventPlace::parse("calls-x", "1"), None);
        assert_eq!(AggregateEventPlace::parse("calls-1", ""), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut order = AggregateEventOrder::default();
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
