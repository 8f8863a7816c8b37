//! Reads that may lag: histories and summaries, which a standby of the database answers if there is one.
//!
//! They never include a balance, or anything that decides about money or a call. Whatever a standby does not answer in
//! time, the primary answers within the same request, and a standby that fails repeatedly is left alone for a while.
//!
//! How far a standby lags is judged on the connection that reads, because several standbys may share one address: it must
//! have replayed what the primary had written some seconds ago. A clock would not do, since a standby of a primary that
//! writes nothing has nothing to replay, and one that has lost its primary cannot know what it is missing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;

use crate::breaker::{CircuitBreaker, CircuitChange};
use crate::deadlines::{POSTGRES_STANDBY_READ, PeerKind, await_answer};
use crate::lifecycle::ProcessLifecycle;
use crate::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

use super::connection::PgConnection;
use super::is_temporary;
use super::pool::DatabasePool;

/// The longest that a standby may lag behind the primary.
pub(super) const LAG_MAX: Duration = Duration::from_secs(5);
/// How often the position of the primary is observed, in fractions of the permitted lag.
const OBSERVATIONS_PER_LAG: u32 = 5;
/// Failures in a row after which standbys are left alone, each of which may have cost a request a second.
const FAILURES_MAX: u32 = 3;
/// How long they are left alone, before one request tries again.
const LEFT_ALONE_FOR: Duration = Duration::from_secs(2);

/// Reads that may lag behind the primary; cheap to clone.
#[derive(Clone, Debug)]
pub struct StandbyReads {
    primary: DatabasePool,
    standby: Option<Arc<StandbyServers>>,
}

/// The standbys behind one address.
#[derive(Debug)]
struct StandbyServers {
    pool: DatabasePool,
    circuit: CircuitBreaker,
    positions: Mutex<PrimaryPositions>,
}

/// The outcome of a read that a standby was to answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum StandbyReadOutcome {
    /// A standby answered.
    Answered,
    /// It lagged too far, or the position of the primary is not known yet.
    Behind,
    /// It did not answer, or not in time.
    Failed,
    /// It was not asked, because others had failed before.
    Skipped,
}

impl StandbyReadOutcome {
    const ALL: [Self; 4] = [Self::Answered, Self::Behind, Self::Failed, Self::Skipped];

    fn label(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Behind => "behind",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    fn record(self) {
        metrics::counter!("db_standby_reads_total", "outcome" => self.label()).increment(1);
    }
}

/// Registers the counters at zero, so that the first read of the primary is visible as an increase.
fn register_metrics() {
    for outcome in StandbyReadOutcome::ALL {
        metrics::counter!("db_standby_reads_total", "outcome" => outcome.label()).increment(0);
    }
}

impl StandbyReads {
    /// Reads of a database without standbys.
    pub fn of_primary(primary: DatabasePool) -> Self {
        register_metrics();
        Self {
            primary,
            standby: None,
        }
    }

    /// Reads of the standbys behind the second pool, as long as they lag no more than `lag_max`. The primary answers
    /// all of them until its position has been known for so long.
    pub fn new(primary: DatabasePool, standby: DatabasePool, lag_max: Duration) -> Self {
        register_metrics();
        let standby = StandbyServers {
            pool: standby,
            circuit: CircuitBreaker::new(FAILURES_MAX, LEFT_ALONE_FOR),
            positions: Mutex::new(PrimaryPositions::new(lag_max)),
        };
        Self {
            primary,
            standby: Some(Arc::new(standby)),
        }
    }

    /// Observes the position of the primary until the process stops.
    pub fn start_observing(&self, lifecycle: &ProcessLifecycle) {
        let Some(standby) = &self.standby else {
            return;
        };
        let interval = standby.lock_positions().lag_max / OBSERVATIONS_PER_LAG;
        let work = PeriodicWork {
            name: "standby.position".into(),
            interval,
            retry_after: interval,
            deadline: LAG_MAX,
            first_turn: FirstTurnStart::AtOnce,
        };
        let reads = self.clone();
        periodic::start(lifecycle, work, move || {
            let reads = reads.clone();
            async move {
                reads.observe_primary().await?;
                Ok(NextTurnStart::AfterInterval)
            }
        });
    }

    /// Observes the position of the primary once; without standbys this does nothing.
    ///
    /// # Errors
    /// The primary does not answer. The positions that are known stay in use.
    pub async fn observe_primary(&self) -> sqlx::Result<()> {
        let Some(standby) = &self.standby else {
            return Ok(());
        };
        let mut connection = self.primary.acquire().await?;
        let position =
            sqlx::query_scalar("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
                .fetch_one(&mut *connection)
                .await?;
        standby.lock_positions().record(Instant::now(), position);
        Ok(())
    }

    /// Reads from a standby, or from the primary if no standby answers. The read may run twice.
    ///
    /// # Errors
    /// The primary had to answer, and failed.
    pub async fn read<T>(
        &self,
        read: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        if let Some(standby) = &self.standby
            && let Some(found) = standby.read(&read).await
        {
            return Ok(found);
        }
        let mut connection = self.primary.acquire().await?;
        read(&mut connection).await
    }
}

impl StandbyServers {
    /// Returns `None` if the primary has to answer.
    async fn read<T>(
        &self,
        read: &impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Option<T> {
        let (outcome, found) = self.try_read(read).await;
        outcome.record();
        found
    }

    async fn try_read<T>(
        &self,
        read: &impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> (StandbyReadOutcome, Option<T>) {
        let Some(required) = self.lock_positions().find_required(Instant::now()) else {
            return (StandbyReadOutcome::Behind, None);
        };
        if !self.circuit.allows_call(Instant::now()) {
            return (StandbyReadOutcome::Skipped, None);
        }
        let reading = self.read_replayed(required, read);
        let answer = await_answer(PeerKind::PostgresStandby, POSTGRES_STANDBY_READ, reading).await;
        match answer.unwrap_or_else(|missed| Err(sqlx::Error::Io(missed.into()))) {
            Ok(found) => {
                self.record_success();
                let outcome = found
                    .as_ref()
                    .map_or(StandbyReadOutcome::Behind, |_| StandbyReadOutcome::Answered);
                (outcome, found)
            }
            Err(error) => {
                self.record_failure(&error);
                (StandbyReadOutcome::Failed, None)
            }
        }
    }

    /// Returns `None` if the standby has not replayed the required position.
    async fn read_replayed<T>(
        &self,
        required: i64,
        read: &impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> sqlx::Result<Option<T>> {
        let mut connection = self.pool.acquire().await?;
        // A server that is not in recovery has become the primary.
        let replayed: Option<i64> = sqlx::query_scalar(
            "SELECT CASE WHEN pg_is_in_recovery()
                    THEN pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint END",
        )
        .fetch_one(&mut *connection)
        .await?;
        if replayed.is_some_and(|replayed| replayed < required) {
            return Ok(None);
        }
        read(&mut connection).await.map(Some)
    }

    fn record_success(&self) {
        if self.circuit.record_success() == CircuitChange::Closed {
            tracing::info!("a standby answers reads again");
        }
    }

    /// An error that the primary would return as well says nothing about the standby.
    fn record_failure(&self, error: &sqlx::Error) {
        if !is_temporary(error) {
            return;
        }
        tracing::warn!(%error, "failed to read from a standby; the primary answers instead");
        if self.circuit.record_failure(Instant::now()) == CircuitChange::Opened {
            tracing::warn!("standbys fail repeatedly; the primary answers all reads for a while");
        }
    }

    fn lock_positions(&self) -> MutexGuard<'_, PrimaryPositions> {
        self.positions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Positions in the log of the primary, of the last few seconds.
#[derive(Debug)]
struct PrimaryPositions {
    lag_max: Duration,
    /// In the order in which they were observed.
    observed: VecDeque<(Instant, i64)>,
}

impl PrimaryPositions {
    fn new(lag_max: Duration) -> Self {
        Self {
            lag_max,
            observed: VecDeque::new(),
        }
    }

    /// Records a position, and forgets all but one of those that are too old to matter.
    fn record(&mut self, now: Instant, position: i64) {
        self.observed.push_back((now, position));
        let is_old = |(at, _): &(Instant, i64)| now.duration_since(*at) >= self.lag_max;
        while self.observed.get(1).is_some_and(is_old) {
            self.observed.pop_front();
        }
    }

    /// Returns the position that a standby must have replayed; `None` until one has been known for long enough.
    fn find_required(&self, now: Instant) -> Option<i64> {
        let mut newest_first = self.observed.iter().rev();
        let old = newest_first.find(|(at, _)| now.duration_since(*at) >= self.lag_max);
        old.map(|(_, position)| *position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_standby_must_have_what_the_primary_had_some_seconds_ago() {
        let begin = Instant::now();
        let mut positions = PrimaryPositions::new(3 * SECOND);
        assert_eq!(positions.find_required(begin), None);
        for second in 0..4 {
            positions.record(begin + second * SECOND, i64::from(second) * 100);
        }
        assert_eq!(positions.find_required(begin + 2 * SECOND), None);
        assert_eq!(positions.find_required(begin + 3 * SECOND), Some(0));
        assert_eq!(positions.find_required(begin + 5 * SECOND), Some(200));
    }

    #[test]
    fn the_last_known_position_stays_required_while_the_primary_is_away() {
        let begin = Instant::now();
        let mut positions = PrimaryPositions::new(SECOND);
        positions.record(begin, 100);
        assert_eq!(positions.find_required(begin + 3600 * SECOND), Some(100));
    }

    #[test]
    fn positions_that_no_longer_matter_are_forgotten() {
        let begin = Instant::now();
        let mut positions = PrimaryPositions::new(3 * SECOND);
        for second in 0..1_000 {
            positions.record(begin + second * SECOND, i64::from(second));
        }
        assert_eq!(positions.observed.len(), 4);
    }
}
