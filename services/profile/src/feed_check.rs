//! Keeps the feed's read model true: compares it with what its owners say, now and then, and writes
//! what differs anew. The table is read and fed by events meanwhile, and no moment of it is empty.
//!
//! Statuses and standings have versions, so that whatever comes late is known to be late. Call totals
//! have none: they are written only over the numbers that were compared, and an event that was under
//! way for longer than the grace shows at the next comparison.

use std::fmt;
use std::time::Duration;

use talktime_kit::Error;
use talktime_kit::db::Database;
use talktime_kit::error::chain;
use talktime_kit::lease::Lease;
use tokio_util::sync::CancellationToken;

use crate::config::FeedConfig;
use crate::owners::Owners;
use crate::store::feed_listeners::{self, Held};

/// Listeners that the owners are asked about at once.
const BATCH: i64 = 100;
const LEASE: &str = "profile.feed_check";

/// Compares and repairs; cheap to clone.
#[derive(Clone)]
pub struct FeedCheck {
    db: Database,
    owners: Owners,
    every: Duration,
    grace: Duration,
}

/// What a comparison has found, in listeners.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Checked {
    /// Compared.
    pub listeners: u64,
    /// Missing in the feed, or in it without the role, or with another profile than theirs.
    pub misplaced: u64,
    /// With another status.
    pub statuses: u64,
    /// With other call totals.
    pub totals: u64,
    /// With another standing.
    pub standings: u64,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            listeners,
            misplaced,
            statuses,
            totals,
            standings,
        } = self;
        write!(
            f,
            "{listeners} listeners compared; mended: {misplaced} rows, {statuses} statuses, \
             {totals} call totals, {standings} standings"
        )
    }
}

impl FeedCheck {
    /// Compares a migrated database with its owners.
    pub fn new(db: Database, owners: Owners, config: FeedConfig) -> Self {
        Self {
            db,
            owners,
            every: Duration::from_secs(config.check_every_secs.max(1).into()),
            grace: Duration::from_millis(config.check_grace_ms),
        }
    }

    /// Compares again and again until told to stop, on one replica at a time.
    pub async fn run(self, stopping: CancellationToken) {
        // From zero on, so that the first is seen to be one more.
        count(Checked::default());
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = stopping.cancelled() => return,
            }
            let checked = tokio::select! {
                checked = self.check_alone() => checked,
                () = stopping.cancelled() => return,
            };
            if let Err(error) = checked {
                tracing::warn!(error = chain(&error), "the feed will be compared later");
            }
        }
    }

    async fn check_alone(&self) -> Result<(), Error> {
        let Some(lease) = Lease::try_take(&self.db, LEASE).await? else {
            return Ok(());
        };
        let checked = self.look(self.grace).await;
        lease.release().await?;
        let checked = checked?;
        tracing::info!("the feed was compared: {checked}");
        Ok(())
    }

    /// One comparison now; a difference counts that is still there after `grace`.
    pub async fn look(&self, grace: Duration) -> Result<Checked, Error> {
        self.walk(Some(grace)).await
    }

    /// Writes the whole read model anew, now.
    pub async fn rebuild(&self) -> Result<Checked, Error> {
        self.walk(None).await
    }

    /// Goes through all listeners. With a grace, a difference counts only if it is still there after
    /// it.
    async fn walk(&self, grace: Option<Duration>) -> Result<Checked, Error> {
        let mut tx = self.db.begin().await?;
        let mut checked = Checked {
            misplaced: feed_listeners::align_with_profiles(&mut tx).await?,
            ..Checked::default()
        };
        tx.commit().await?;
        let mut after_user_id = 0;
        loop {
            let held = self.held_after(after_user_id).await?;
            let Some(last) = held.last() else {
                count(checked);
                return Ok(checked);
            };
            after_user_id = last.user_id;
            checked.listeners += held.len() as u64;
            self.compare(held, grace, &mut checked).await?;
        }
    }

    async fn held_after(&self, user_id: i64) -> Result<Vec<Held>, Error> {
        let mut connection = self.db.acquire().await?;
        Ok(feed_listeners::held_after(&mut connection, user_id, BATCH).await?)
    }

    async fn compare(
        &self,
        held: Vec<Held>,
        grace: Option<Duration>,
        checked: &mut Checked,
    ) -> Result<(), Error> {
        let differing = self.differing(held).await?;
        let differing = match grace {
            Some(grace) if !differing.is_empty() => {
                tokio::time::sleep(grace).await;
                self.still_differing(differing).await?
            }
            _ => differing,
        };
        for (held, said) in differing {
            self.mend(held, said, checked).await?;
        }
        Ok(())
    }

    /// Those of whom the owners say something else, and what.
    async fn differing(&self, held: Vec<Held>) -> Result<Vec<(Held, Held)>, Error> {
        let user_ids: Vec<i64> = held.iter().map(|held| held.user_id).collect();
        let said = self.owners.say(&user_ids).await?;
        let pairs = held.into_iter().filter_map(|held| {
            let said = *said.get(&held.user_id)?;
            Some((held, said))
        });
        Ok(pairs.filter(|(held, said)| held.differs(said)).collect())
    }

    /// Looks again at those whose row has not moved since: an event under way would have moved it.
    async fn still_differing(
        &self,
        differing: Vec<(Held, Held)>,
    ) -> Result<Vec<(Held, Held)>, Error> {
        let user_ids: Vec<i64> = differing.iter().map(|(held, _)| held.user_id).collect();
        let mut connection = self.db.acquire().await?;
        let now = feed_listeners::held_of(&mut connection, &user_ids).await?;
        drop(connection);
        let unmoved = now.into_iter().filter(|now| {
            let mut before = differing.iter().map(|(held, _)| held);
            before.any(|held| held.user_id == now.user_id && !held.differs(now))
        });
        self.differing(unmoved.collect()).await
    }

    async fn mend(&self, held: Held, said: Held, checked: &mut Checked) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        if held.status_differs(&said) {
            checked.statuses += feed_listeners::mend_status(&mut tx, &said).await?;
        }
        if held.totals_differ(&said) {
            checked.totals += feed_listeners::mend_totals(&mut tx, &held, &said).await?;
        }
        if held.standing_differs(&said) {
            checked.standings += feed_listeners::mend_standing(&mut tx, &said).await?;
        }
        tx.commit().await?;
        Ok(())
    }
}

fn count(checked: Checked) {
    for (what, count) in [
        ("row", checked.misplaced),
        ("status", checked.statuses),
        ("totals", checked.totals),
        ("standing", checked.standings),
    ] {
        metrics::counter!("feed_drift_mended_total", "what" => what).increment(count);
    }
}
