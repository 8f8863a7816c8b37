//! Detects that this replica bills minutes late because more calls are due than it can bill.
//!
//! Minutes of live calls take precedence over new calls: a call whose minutes are not billed in time would
//! end although its caller can pay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;

/// Lateness of minutes beyond which no new call may start.
const LATENESS_MAX: TimeDelta = TimeDelta::seconds(1);

/// The result of the last sweep of this replica; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct BillingBacklog(Arc<AtomicBool>);

impl BillingBacklog {
    /// Whether new calls must be refused now.
    pub(crate) fn is_long(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Records how late each live call of a claimed batch is. A batch holds the calls that have been due
    /// longest.
    pub(crate) fn record_lateness(
        &self,
        late_by: impl Iterator<Item = TimeDelta>,
        batch_is_full: bool,
    ) {
        // The least late call of the batch is late as well, so the whole backlog is.
        let all_are_late = late_by.min().is_some_and(|least| least > LATENESS_MAX);
        let is_long = batch_is_full && all_are_late;
        self.0.store(is_long, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_calls_are_refused_only_while_a_whole_full_batch_is_late() {
        for (late_by_secs, batch_is_full, is_long) in [
            (vec![3, 2], true, true),
            (vec![3, 0], true, false),
            (vec![3, 2], false, false),
            (vec![], true, false),
        ] {
            let backlog = BillingBacklog::default();
            let late_by = late_by_secs.iter().copied().map(TimeDelta::seconds);
            backlog.record_lateness(late_by, batch_is_full);
            assert_eq!(backlog.is_long(), is_long, "{late_by_secs:?}");
        }
    }
}
