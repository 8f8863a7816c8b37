//! The pace of sweeps: frequent while some call has a next step, and seldom while none has.
//!
//! The first step of a call is due seconds after the commit that reserves it. A replica whose sweeps are seldom finds the
//! call before that, whichever replica has reserved it, and the replica that has reserved it sweeps frequently at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use talktime_kit::periodic::WorkWaker;

/// The pace of the sweeps of this process, which the sweeper shares with those who reserve calls; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct SweepPace {
    waker: WorkWaker,
    flags: Arc<SweepPaceFlags>,
}

#[derive(Debug, Default)]
struct SweepPaceFlags {
    /// Whether the last sweep found no call with a next step.
    has_found_none: AtomicBool,
    /// Whether the sweeper may not look for a while after this sweep, so that a new call has to wake it.
    may_become_seldom: AtomicBool,
}

/// How soon the next sweep follows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SweepFrequency {
    Frequent,
    Seldom,
}

impl SweepPace {
    /// Returns what wakes the sweeper.
    pub(crate) fn waker(&self) -> WorkWaker {
        self.waker.clone()
    }

    /// Records the commit of a new call. It starts a sweep if sweeps are seldom, and costs nothing otherwise.
    pub(crate) fn record_reservation(&self) {
        if self.flags.may_become_seldom.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
    }

    /// Records that a sweep begins, before it reads: a call that it does not find was committed after this, and wakes the
    /// sweeper.
    pub(crate) fn begin_sweep(&self) {
        let has_found_none = self.flags.has_found_none.load(Ordering::SeqCst);
        let may_become_seldom = &self.flags.may_become_seldom;
        may_become_seldom.store(has_found_none, Ordering::SeqCst);
    }

    /// Records the end of a sweep, and whether some call has a next step. Sweeps become seldom with the second one in a row
    /// that finds none.
    pub(crate) fn end_sweep(&self, has_next_step: bool) -> SweepFrequency {
        let had_found_none = self
            .flags
            .has_found_none
            .swap(!has_next_step, Ordering::SeqCst);
        if has_next_step {
            self.flags.may_become_seldom.store(false, Ordering::SeqCst);
        }
        if had_found_none && !has_next_step {
            SweepFrequency::Seldom
        } else {
            SweepFrequency::Frequent
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::future::ready;
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use talktime_kit::lifecycle::ProcessLifecycle;
    use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

    use super::*;

    const WORK: PeriodicWork = PeriodicWork {
        name: Cow::Borrowed("tests.sweep"),
        interval: Duration::from_hours(1),
        retry_after: Duration::from_hours(1),
        deadline: Duration::from_secs(1),
        first_turn: FirstTurnStart::AfterInterval,
    };

    fn sweep(pace: &SweepPace, has_next_step: bool) -> SweepFrequency {
        pace.begin_sweep();
        pace.end_sweep(has_next_step)
    }

    /// Counts how often the sweeper is woken from now on.
    fn count_wakes(lifecycle: &ProcessLifecycle, pace: &SweepPace) -> Arc<AtomicU32> {
        let wakes = Arc::new(AtomicU32::new(0));
        let counted = wakes.clone();
        periodic::start_wakeable(lifecycle, WORK, pace.waker(), move || {
            counted.fetch_add(1, Ordering::Relaxed);
            ready(Ok(NextTurnStart::AfterInterval))
        });
        wakes
    }

    async fn read(wakes: &AtomicU32) -> u32 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        wakes.load(Ordering::Relaxed)
    }

    #[test]
    fn sweeps_are_seldom_while_no_call_has_a_next_step() {
        let pace = SweepPace::default();
        assert_eq!(sweep(&pace, false), SweepFrequency::Frequent);
        assert_eq!(sweep(&pace, false), SweepFrequency::Seldom);
        assert_eq!(sweep(&pace, false), SweepFrequency::Seldom);
        assert_eq!(sweep(&pace, true), SweepFrequency::Frequent);
        assert_eq!(sweep(&pace, false), SweepFrequency::Frequent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_call_wakes_the_sweeper_only_while_sweeps_are_seldom() {
        let (lifecycle, pace) = (ProcessLifecycle::default(), SweepPace::default());
        let wakes = count_wakes(&lifecycle, &pace);
        sweep(&pace, false);
        pace.record_reservation();
        assert_eq!(read(&wakes).await, 0, "the next sweep is soon");
        sweep(&pace, false);
        pace.record_reservation();
        pace.record_reservation();
        assert_eq!(read(&wakes).await, 1);
        sweep(&pace, true);
        pace.record_reservation();
        assert_eq!(read(&wakes).await, 1, "sweeps are frequent");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_committed_after_a_sweep_has_read_wakes_the_sweeper() {
        let (lifecycle, pace) = (ProcessLifecycle::default(), SweepPace::default());
        let wakes = count_wakes(&lifecycle, &pace);
        sweep(&pace, false);
        pace.begin_sweep();
        pace.record_reservation();
        assert_eq!(pace.end_sweep(false), SweepFrequency::Seldom);
        assert_eq!(read(&wakes).await, 1);
    }
}
