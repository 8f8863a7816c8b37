//! What nobody tells: that a phone fell silent, and that a busy flag has outlived its reason
//! (contract, section 4). One replica looks at a time, in bounded batches, again and again; an admin may
//! have it done at once.

use std::time::Duration;

use chrono::TimeDelta;
use talktime_kit::db::Database;
use talktime_kit::error::chain;
use talktime_kit::grpc::client::{PeerChannel, retry_idempotent};
use talktime_kit::lease::Lease;
use talktime_kit::messaging::Relay;
use talktime_kit::{Clock, Error};
use talktime_proto::calls::v1::FilterLiveRequest;
use talktime_proto::calls::v1::calls_service_client::CallsServiceClient;
use tokio_util::sync::CancellationToken;

use crate::changes::{change, tell_offline};
use crate::config::SweepConfig;
use crate::domain::{Change, Effect, PresenceError, UserStatus};
use crate::store::user_status;

/// People in one transaction.
const BATCH: u16 = 500;
const LEASE: &str = "presence.sweep";

/// Looks for the silent and for the busy without a reason; cheap to clone.
#[derive(Clone)]
pub struct Sweeper {
    db: Database,
    relay: Relay,
    clock: Clock,
    calls: CallsServiceClient<PeerChannel>,
    every: Duration,
    offline_after: TimeDelta,
    own_busy_grace: TimeDelta,
}

/// What a look has changed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Swept {
    /// People who showed no sign of life.
    pub marked_offline: u64,
    /// People whose call was over, or whose own word was.
    pub busy_cleared: u64,
}

impl Sweeper {
    /// Sweeps a migrated database; `relay` is woken when there are events, calls is asked which
    /// calls are live.
    pub fn new(
        db: Database,
        relay: Relay,
        clock: Clock,
        calls: CallsServiceClient<PeerChannel>,
        config: SweepConfig,
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

    /// Looks again and again until told to stop. The first look waits too: after a stop, phones get
    /// the time to show that they are there.
    pub async fn run(self, stopping: CancellationToken) {
        // From zero on, so that the first is seen to be one more.
        observe(Swept::default());
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = stopping.cancelled() => return,
            }
            let looked = tokio::select! {
                looked = self.look_alone() => looked,
                () = stopping.cancelled() => return,
            };
            if let Err(error) = looked {
                tracing::warn!(error = chain(&error), "will sweep later");
            }
        }
    }

    /// One look, unless another replica is at it.
    async fn look_alone(&self) -> Result<(), Error> {
        let Some(lease) = Lease::try_take(&self.db, LEASE).await? else {
            return Ok(());
        };
        let looked = self.look(self.own_busy_grace).await;
        lease.release().await?;
        let swept = looked?;
        if swept != Swept::default() {
            let Swept {
                marked_offline,
                busy_cleared,
            } = swept;
            tracing::info!(marked_offline, busy_cleared, "swept");
        }
        Ok(())
    }

    /// One look now, whoever else is at it: rows that somebody else has locked are left to them.
    pub async fn look_now(&self) -> Result<Swept, PresenceError> {
        self.look(TimeDelta::zero()).await.map_err(Into::into)
    }

    async fn look(&self, own_busy_grace: TimeDelta) -> Result<Swept, Error> {
        let mut swept = Swept {
            marked_offline: self.mark_silent().await?,
            busy_cleared: self.clear_own_busy(own_busy_grace).await?,
        };
        swept.busy_cleared += self.clear_ended_calls().await?;
        observe(swept);
        Ok(swept)
    }

    /// Batch after batch, each in a transaction, until nobody is due.
    async fn mark_silent(&self) -> Result<u64, Error> {
        let mut marked = 0;
        loop {
            let now = self.clock.now();
            let mut tx = self.db.begin().await?;
            let looked_at =
                user_status::sweep_silent(&mut tx, now - self.offline_after, now, BATCH.into())
                    .await?;
            let silent = looked_at.iter().filter(|status| !status.is_online);
            tell_offline(&mut tx, silent.clone(), now).await?;
            tx.commit().await?;
            let silent = silent.count();
            if silent > 0 {
                self.relay.wake();
            }
            marked += silent as u64;
            if looked_at.len() < usize::from(BATCH) {
                return Ok(marked);
            }
        }
    }

    /// Who said that they are busy is so for the minutes that they named, or for the grace.
    async fn clear_own_busy(&self, grace: TimeDelta) -> Result<u64, Error> {
        let mut cleared = 0;
        loop {
            let now = self.clock.now();
            let mut tx = self.db.begin().await?;
            let user_ids = user_status::own_busy(&mut tx, now - grace, now, BATCH.into()).await?;
            let over = Change::OwnBusyOver { grace };
            cleared += count_seen(&change(&mut tx, &user_ids, &over, now).await?);
            tx.commit().await?;
            if !user_ids.is_empty() {
                self.relay.wake();
            }
            if user_ids.len() < usize::from(BATCH) {
                return Ok(cleared);
            }
        }
    }

    /// Asks calls about everyone who is on one. A call that is not live will never be again.
    async fn clear_ended_calls(&self) -> Result<u64, Error> {
        let mut cleared = 0;
        let mut after_user_id = 0;
        loop {
            let mut connection = self.db.acquire().await?;
            let busy = user_status::on_calls(&mut connection, after_user_id, BATCH.into()).await?;
            drop(connection);
            let Some((last, _)) = busy.last() else {
                return Ok(cleared);
            };
            after_user_id = *last;
            let mut call_ids: Vec<i64> = busy.iter().map(|(_, call_id)| *call_id).collect();
            call_ids.sort_unstable();
            call_ids.dedup();
            let live = self.live_among(&call_ids).await?;
            for (user_id, call_id) in busy {
                if !live.contains(&call_id) {
                    cleared += self.end_for(user_id, call_id).await?;
                }
            }
        }
    }

    async fn live_among(&self, call_ids: &[i64]) -> Result<Vec<i64>, Error> {
        let answer = retry_idempotent(|| {
            let mut calls = self.calls.clone();
            let call_ids = call_ids.to_vec();
            async move { calls.filter_live(FilterLiveRequest { call_ids }).await }
        });
        Ok(answer.await?.live_call_ids)
    }

    async fn end_for(&self, user_id: i64, call_id: i64) -> Result<u64, Error> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let ended = Change::CallEnded { call_id };
        let judged = change(&mut tx, &[user_id], &ended, now).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(count_seen(&judged))
    }
}

fn count_seen(judged: &[(UserStatus, Effect)]) -> u64 {
    let seen = |(_, effect): &&(UserStatus, Effect)| matches!(effect, Effect::Seen { .. });
    judged.iter().filter(seen).count() as u64
}

fn observe(swept: Swept) {
    metrics::counter!("presence_marked_offline_total").increment(swept.marked_offline);
    metrics::counter!("presence_busy_cleared_total").increment(swept.busy_cleared);
}
