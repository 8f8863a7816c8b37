//! Whether minutes are billed late because there are more than this replica manages.
//!
//! Minutes of calls that are on come before calls that are to begin: a call whose minutes cannot be billed
//! in time would end though its caller can pay.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chrono::TimeDelta;

/// How late minutes may be billed before no call begins.
const LATENESS_MAX: TimeDelta = TimeDelta::seconds(1);

/// What the sweeper last saw; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct BillingBacklog(Arc<AtomicBool>);

impl BillingBacklog {
    /// Whether no call should begin now.
    pub(crate) fn is_long(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Judges by how late the live calls of a batch are, the longest due ones that there are.
    pub(crate) fn record_lateness(
        &self,
        late_by: impl Iterator<Item = TimeDelta>,
        batch_is_full: bool,
    ) {
        // Even the last of them should have been billed long ago.
        let all_are_late = late_by.min().is_some_and(|least| least > LATENESS_MAX);
        let is_long = batch_is_full && all_are_late;
        self.0.store(is_long, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_wait_only_while_all_of_a_full_batch_is_late() {
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
