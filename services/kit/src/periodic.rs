//! Work that a process repeats until it stops. Each turn has a deadline, a panic ends only its own turn, and the
//! metrics tell when the last turn ended, so that a loop that hangs is noticed.
//!
//! A platform without users should cost next to nothing, so a loop that is quick only while there is something to do has
//! a long interval. It asks for its next turn sooner with [`NextTurnStart::After`] while it finds work or knows when the
//! next work is due, and [`WorkWaker`] starts a turn at once when this process causes work. The interval then bounds only
//! how late this process notices what another one has left behind.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use futures::FutureExt;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::lifecycle::ProcessLifecycle;
use crate::progress::LoopProgress;

/// The time that a turn under way gets to end once the process stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// Failures of one loop that follow one another are logged no more often than this.
const LOG_EVERY: Duration = Duration::from_mins(1);
/// A machine that is overloaded for so long does not make a loop count as stuck.
const TURN_SLACK: Duration = Duration::from_secs(30);
/// Pauses vary by this fraction, so that the replicas of a service do not work in step.
const JITTER: f64 = 0.1;

/// Work that is repeated until the process stops.
#[derive(Clone, Debug)]
pub struct PeriodicWork {
    /// Identifies the work in metrics and in the log, such as `wallet.verify`.
    pub name: Cow<'static, str>,
    /// Pause between two turns, the longest one if turns ask for shorter pauses.
    pub interval: Duration,
    /// Pause after a turn that failed.
    pub retry_after: Duration,
    /// Time limit of a turn. A turn that exceeds it is dropped and counts as failed, so a turn must be safe to
    /// drop at any of its waits.
    pub deadline: Duration,
    /// Start of the first turn.
    pub first_turn: FirstTurnStart,
}

/// Start of the first turn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FirstTurnStart {
    /// At once.
    AtOnce,
    /// After an interval.
    AfterInterval,
}

/// Start of the turn after one that succeeded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NextTurnStart {
    /// At once, since more work is known to wait.
    AtOnce,
    /// After this pause, but no later than after an interval: more work is due then, or likely.
    After(Duration),
    /// After an interval.
    AfterInterval,
}

/// Starts the next turn of periodic work at once; cheap to clone. A wake during a turn causes another turn after it.
#[derive(Clone, Debug, Default)]
pub struct WorkWaker(Arc<Notify>);

impl WorkWaker {
    /// Starts the next turn, after the commit that has caused work for it.
    pub fn wake(&self) {
        self.0.notify_one();
    }
}

/// Repeats `turn` in the background until the process stops, which waits a little for a turn under way.
pub fn start<F>(
    lifecycle: &ProcessLifecycle,
    work: PeriodicWork,
    turn: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = anyhow::Result<NextTurnStart>> + Send + 'static,
{
    start_wakeable(lifecycle, work, WorkWaker::default(), turn);
}

/// Repeats `turn` as [`start`] does, and also whenever `waker` is woken.
pub fn start_wakeable<F>(
    lifecycle: &ProcessLifecycle,
    work: PeriodicWork,
    waker: WorkWaker,
    turn: impl FnMut() -> F + Send + 'static,
) where
    F: Future<Output = anyhow::Result<NextTurnStart>> + Send + 'static,
{
    let progress = lifecycle.register_loop(work.name.clone(), work.turn_max());
    lifecycle.spawn(repeat(work, waker, turn, progress, lifecycle.stopping()));
}

impl PeriodicWork {
    /// The longest time between the ends of two turns of a loop that works.
    fn turn_max(&self) -> Duration {
        let pause = self.interval.max(self.retry_after).mul_f64(1.0 + JITTER);
        pause + self.deadline + TURN_SLACK
    }

    /// Returns the pause after a turn.
    fn pause_after(&self, outcome: &anyhow::Result<NextTurnStart>) -> Duration {
        match outcome {
            Ok(NextTurnStart::AtOnce) => Duration::ZERO,
            Ok(NextTurnStart::After(pause)) => self.interval.min(*pause),
            Ok(NextTurnStart::AfterInterval) => self.interval,
            Err(_) => self.retry_after,
        }
    }
}

async fn repeat<F>(
    work: PeriodicWork,
    waker: WorkWaker,
    mut turn: impl FnMut() -> F,
    progress: LoopProgress,
    stopping: CancellationToken,
) where
    F: Future<Output = anyhow::Result<NextTurnStart>>,
{
    let mut reporter = LoopTurnReporter::new(work.name.clone(), progress);
    let mut pause = match work.first_turn {
        FirstTurnStart::AtOnce => Duration::ZERO,
        FirstTurnStart::AfterInterval => work.interval,
    };
    while !stopping.is_cancelled() {
        tokio::select! {
            () = sleep(vary_pause(pause)) => {}
            () = waker.0.notified() => {}
            () = stopping.cancelled() => return,
        }
        let limited = limit_turn(turn(), work.deadline);
        let Some(outcome) = complete_unless_stopped(limited, &stopping).await else {
            return;
        };
        reporter.report(&outcome);
        pause = work.pause_after(&outcome);
    }
}

fn vary_pause(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(1.0 - JITTER..=1.0 + JITTER))
}

/// Runs a turn within its deadline; a panic becomes an error.
async fn limit_turn<F>(turn: F, deadline: Duration) -> anyhow::Result<NextTurnStart>
where
    F: Future<Output = anyhow::Result<NextTurnStart>>,
{
    let turn = AssertUnwindSafe(turn).catch_unwind();
    match timeout(deadline, turn).await {
        Ok(Ok(outcome)) => outcome,
        // The panic hook has logged the message and the place.
        Ok(Err(_panic)) => Err(anyhow!("the turn panicked")),
        Err(_elapsed) => Err(anyhow!("the turn did not end within {deadline:?}")),
    }
}

/// Returns `None` if the process stops and the turn does not end within the grace period.
async fn complete_unless_stopped<F: Future>(
    turn: F,
    stopping: &CancellationToken,
) -> Option<F::Output> {
    tokio::pin!(turn);
    tokio::select! {
        outcome = &mut turn => return Some(outcome),
        () = stopping.cancelled() => {}
    }
    timeout(STOP_GRACE, turn).await.ok()
}

/// Reports the turns of one loop in the metrics, and its failures in the log.
struct LoopTurnReporter {
    name: Cow<'static, str>,
    progress: LoopProgress,
    /// The last logged failure, unless a turn has succeeded since.
    logged_at: Option<Instant>,
}

impl LoopTurnReporter {
    fn new(name: Cow<'static, str>, progress: LoopProgress) -> Self {
        let reporter = Self {
            name,
            progress,
            logged_at: None,
        };
        // The counter starts at zero, so that the first increment is visible as one.
        reporter.count_failures(0);
        reporter
    }

    fn report(&mut self, outcome: &anyhow::Result<NextTurnStart>) {
        self.progress.record_turn();
        match outcome {
            Ok(_) => self.logged_at = None,
            Err(error) => {
                self.count_failures(1);
                self.log_failure(error);
            }
        }
    }

    fn count_failures(&self, failures: u64) {
        metrics::counter!("background_loop_failures_total", "loop" => self.name.clone())
            .increment(failures);
    }

    fn log_failure(&mut self, error: &anyhow::Error) {
        if self.logged_at.is_some_and(|at| at.elapsed() < LOG_EVERY) {
            return;
        }
        self.logged_at = Some(Instant::now());
        tracing::warn!(
            r#loop = %self.name,
            error = format!("{error:#}"),
            "failed turn of a background loop; the next turn retries"
        );
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::pending;

    use super::*;
    use crate::progress::LoopRegistry;

    const WORK: PeriodicWork = PeriodicWork {
        name: Cow::Borrowed("tests.work"),
        interval: Duration::from_secs(100),
        retry_after: Duration::from_secs(10),
        deadline: Duration::from_secs(20),
        first_turn: FirstTurnStart::AtOnce,
    };

    /// The behaviour of a test's turn.
    #[derive(Clone, Copy, Debug)]
    enum TurnBehavior {
        Succeed(NextTurnStart),
        Fail,
        Panic,
        Hang,
    }

    /// Takes the given turns, stops, and returns when each turn began, in seconds.
    async fn take_turns(work: PeriodicWork, turns: &[TurnBehavior]) -> Vec<u64> {
        take_wakeable_turns(work, &WorkWaker::default(), turns).await
    }

    async fn take_wakeable_turns(
        work: PeriodicWork,
        waker: &WorkWaker,
        turns: &[TurnBehavior],
    ) -> Vec<u64> {
        let stopping = CancellationToken::new();
        let started_at = Instant::now();
        let begun = RefCell::new(vec![]);
        let mut remaining = turns.iter().copied();
        let take_turn = || {
            begun.borrow_mut().push(started_at.elapsed().as_secs());
            let turn = remaining.next().expect("no turn after the stop");
            if remaining.len() == 0 {
                stopping.cancel();
            }
            async move {
                match turn {
                    TurnBehavior::Succeed(next) => Ok(next),
                    TurnBehavior::Fail => Err(anyhow!("failed")),
                    TurnBehavior::Panic => panic!("as the test wants"),
                    TurnBehavior::Hang => pending().await,
                }
            }
        };
        let progress = LoopRegistry::default().register(work.name.clone(), work.turn_max());
        let waker = waker.clone();
        repeat(work, waker, take_turn, progress, stopping.clone()).await;
        begun.into_inner()
    }

    const DONE: TurnBehavior = TurnBehavior::Succeed(NextTurnStart::AfterInterval);

    #[tokio::test(start_paused = true)]
    async fn turns_follow_at_the_interval_and_at_once_while_work_waits() {
        let more = TurnBehavior::Succeed(NextTurnStart::AtOnce);
        let begun = take_turns(WORK, &[DONE, more, DONE]).await;
        assert_eq!(begun[0], 0);
        assert!((90..=110).contains(&begun[1]), "{begun:?}");
        assert_eq!(begun[2], begun[1]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_turn_waits_for_an_interval_where_the_work_says_so() {
        let work = PeriodicWork {
            first_turn: FirstTurnStart::AfterInterval,
            ..WORK
        };
        let begun = take_turns(work, &[DONE]).await;
        assert!((90..=110).contains(&begun[0]), "{begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_may_ask_for_a_shorter_pause_but_not_for_a_longer_one() {
        let soon = TurnBehavior::Succeed(NextTurnStart::After(Duration::from_secs(10)));
        let late = TurnBehavior::Succeed(NextTurnStart::After(Duration::from_secs(1_000)));
        let begun = take_turns(WORK, &[soon, late, DONE]).await;
        assert!((9..=11).contains(&begun[1]), "{begun:?}");
        let pause = begun[2] - begun[1];
        assert!((90..=110).contains(&pause), "{begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wake_starts_the_next_turn_at_once_and_only_that_one() {
        let waker = WorkWaker::default();
        let waking = async {
            sleep(Duration::from_secs(20)).await;
            waker.wake();
        };
        let turns = take_wakeable_turns(WORK, &waker, &[DONE, DONE, DONE]);
        let (begun, ()) = tokio::join!(turns, waking);
        assert_eq!(begun[1], 20);
        let pause = begun[2] - begun[1];
        assert!((90..=110).contains(&pause), "{begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn turns_that_fail_panic_or_hang_are_followed_by_a_retry() {
        let begun = take_turns(
            WORK,
            &[
                TurnBehavior::Fail,
                TurnBehavior::Panic,
                TurnBehavior::Hang,
                DONE,
            ],
        )
        .await;
        let pauses: Vec<u64> = begun.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((9..=11).contains(&pauses[0]), "{begun:?}");
        assert!((9..=11).contains(&pauses[1]), "{begun:?}");
        assert!((29..=31).contains(&pauses[2]), "{begun:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_only_a_little_for_a_turn_under_way() {
        let started_at = Instant::now();
        take_turns(WORK, &[TurnBehavior::Hang]).await;
        assert!((STOP_GRACE..WORK.deadline).contains(&started_at.elapsed()));
    }
}
