//! The sweep: it corrects statuses that no request and no event corrects, because a phone stopped sending
//! heartbeats or because a busy flag outlived its reason (contract, section 4). It runs periodically, on one
//! replica at a time and in bounded batches; an admin can also run it at once.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use chrono::TimeDelta;
use talktime_kit::db::DatabasePool;
use talktime_kit::lease::Lease;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::messaging::Relay;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use talktime_kit::{Clock, Error};

use crate::changes::{append_offline_events, apply_change};
use crate::config::StatusSweepConfig;
use crate::domain::{PresenceError, StatusChange, StatusChangeEffect, UserStatus};
use crate::metrics::{record_busy_cleared, record_marked_offline};
use crate::peers::CallsClient;
use crate::store::user_status;

/// Users in one transaction.
const BATCH_USERS_MAX: u16 = 500;
const LEASE_NAME: &str = "presence.sweep";
/// Time limit of a periodic sweep. Each of its batches is committed by itself.
const SWEEP_TIMEOUT: Duration = Duration::from_mins(5);

/// Marks silent users offline and clears outdated busy flags; cheap to clone.
#[derive(Clone)]
pub struct StatusSweeper {
    db: DatabasePool,
    relay: Relay,
    clock: Clock,
    calls: CallsClient,
    every: Duration,
    offline_after: TimeDelta,
    own_busy_grace: TimeDelta,
}

/// Numbers of statuses that a sweep has changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StatusSweepCounts {
    /// Users who were marked offline, since they sent no heartbeat.
    pub marked_offline: u64,
    /// Users whose busy flag was cleared, since their call or their announced wait is over.
    pub busy_cleared: u64,
}

impl StatusSweeper {
    /// Returns a sweeper for a migrated database. It wakes `relay` after it has appended events, and learns from
    /// `calls` which calls are live.
    pub fn new(
        db: DatabasePool,
        relay: Relay,
        clock: Clock,
        calls: CallsClient,
        config: StatusSweepConfig,
    ) -> Self {
        Self {
            db,
            relay,
            clock,
            calls,
            every: Duration::from_secs(config.every_secs.max(1).into()),
            offline_after: TimeDelta::seconds(config.offline_after_secs.into()),
            own_busy_grace: TimeDelta::seconds(config.own_busy_grace_secs.into()),
        }
    }

    /// Sweeps periodically until the service stops. The first sweep waits for a full interval: after an
    /// outage, phones get the time to send a heartbeat first.
    pub fn start(self, lifecycle: &ProcessLifecycle) {
        let work = PeriodicWork {
            name: Cow::Borrowed("presence.sweep"),
            interval: self.every,
            retry_after: self.every,
            deadline: SWEEP_TIMEOUT,
            first_turn: FirstTurnStart::AfterInterval,
        };
        periodic::start(lifecycle, work, move || {
            let sweeper = self.clone();
            async move {
                let swept = sweeper.run_leased().await;
                swept.context("failed to sweep statuses")?;
                Ok(NextTurnStart::AfterInterval)
            }
        });
    }

    /// Runs one sweep, unless another replica holds the lease.
    async fn run_leased(&self) -> Result<(), Error> {
        let Some(lease) = Lease::try_take(&self.db, LEASE_NAME).await? else {
            return Ok(());
        };
        let result = self.run_once(self.own_busy_grace).await;
        lease.release().await?;
        let counts = result?;
        if counts != StatusSweepCounts::default() {
            let StatusSweepCounts {
                marked_offline,
                busy_cleared,
            } = counts;
            tracing::info!(marked_offline, busy_cleared, "sweep changed statuses");
        }
        Ok(())
    }

    /// Runs one sweep at once, even while another replica sweeps: rows that are locked are left to it. A busy
    /// flag without an announced wait is cleared without a grace period.
    pub async fn run_now(&self) -> Result<StatusSweepCounts, PresenceError> {
        self.run_once(TimeDelta::zero()).await.map_err(Into::into)
    }

    async fn run_once(&self, own_busy_grace: TimeDelta) -> Result<StatusSweepCounts, Error> {
        let mut counts = StatusSweepCounts {
            marked_offline: self.mark_silent().await?,
            busy_cleared: self.clear_own_busy(own_busy_grace).await?,
        };
        counts.busy_cleared += self.clear_ended_calls().await?;
        record_marked_offline(counts.marked_offline);
        record_busy_cleared(counts.busy_cleared);
        Ok(counts)
    }

    /// Marks silent users offline, batch after batch, each in one transaction, until no user is due.
    async fn mark_silent(&self) -> Result<u64, Error> {
        let mut marked = 0;
        loop {
            let now = self.clock.now();
            let mut tx = self.db.begin().await?;
            let checked = user_status::mark_silent_offline(
                &mut tx,
                now - self.offline_after,
                now,
                BATCH_USERS_MAX.into(),
            )
            .await?;
            let silent = checked.iter().filter(|status| !status.is_online);
            append_offline_events(&mut tx, silent.clone(), now).await?;
            tx.commit().await?;
            let silent = silent.count();
            if silent > 0 {
                self.relay.wake();
            }
            marked += silent as u64;
            if checked.len() < usize::from(BATCH_USERS_MAX) {
                return Ok(marked);
            }
        }
    }

    /// Clears the busy flags that users have set themselves, after the announced minutes or else the grace
    /// period.
    async fn clear_own_busy(&self, grace: TimeDelta) -> Result<u64, Error> {
        let mut cleared = 0;
        loop {
            let now = self.clock.now();
            let mut tx = self.db.begin().await?;
            let user_ids =
                user_status::list_own_busy(&mut tx, now - grace, now, BATCH_USERS_MAX.into())
                    .await?;
            let expired = StatusChange::OwnBusyExpired { grace };
            let results = apply_change(&mut tx, &user_ids, &expired, now).await?;
            cleared += count_visible_changes(&results);
            tx.commit().await?;
            if !user_ids.is_empty() {
                self.relay.wake();
            }
            if user_ids.len() < usize::from(BATCH_USERS_MAX) {
                return Ok(cleared);
            }
        }
    }

    /// Clears the busy flags of calls that the calls service does not know as live. A call that is not live
    /// never becomes live again.
    async fn clear_ended_calls(&self) -> Result<u64, Error> {
        let mut cleared = 0;
        let mut after_user_id = 0;
        loop {
            let mut connection = self.db.acquire().await?;
            let busy =
                user_status::list_on_calls(&mut connection, after_user_id, BATCH_USERS_MAX.into())
                    .await?;
            drop(connection);
            let Some((last, _)) = busy.last() else {
                return Ok(cleared);
            };
            after_user_id = *last;
            let mut call_ids: Vec<i64> = busy.iter().map(|(_, call_id)| *call_id).collect();
            call_ids.sort_unstable();
            call_ids.dedup();
            let live = self.calls.filter_live(&call_ids).await?;
            for (user_id, call_id) in busy {
                if !live.contains(&call_id) {
                    cleared += self.end_call_for(user_id, call_id).await?;
                }
            }
        }
    }

    async fn end_call_for(&self, user_id: i64, call_id: i64) -> Result<u64, Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let ended = StatusChange::CallEnded { call_id };
        let results = apply_change(&mut tx, &[user_id], &ended, now).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(count_visible_changes(&results))
    }
}

fn count_visible_changes(results: &[(UserStatus, StatusChangeEffect)]) -> u64 {
    let visible = results
        .iter()
        .filter(|(_, effect)| matches!(effect, StatusChangeEffect::Visible { .. }));
    visible.count() as u64
}
