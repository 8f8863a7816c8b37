//! Removes objects that no row names: of uploads that died half-way, of tickets never confirmed, of
//! users who are gone. One replica looks at a time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use talktime_kit::db::Database;
use talktime_kit::error::chain;
use talktime_kit::lease::Lease;
use talktime_kit::{Clock, Error};
use tokio_util::sync::CancellationToken;

use crate::config::ReconcilerConfig;
use crate::domain::{AUDIO_PREFIX, Audio, UPLOAD_PREFIX};
use crate::objects::{Bucket, Listed};
use crate::store::listener_verifications;

/// Pages of the bucket that one look takes, at most; the next look goes on from the start.
const PAGES_MAX: usize = 10_000;
const RECORDS_CHECKED_AT_ONCE: i64 = 500;

/// Keeps the bucket equal to the rows; cheap to clone.
#[derive(Clone)]
pub struct Reconciler {
    db: Database,
    bucket: Bucket,
    clock: Clock,
    every: Duration,
    grace: TimeDelta,
}

/// What is without its other half.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Differences {
    /// Objects that no row names.
    pub objects_without_record: usize,
    /// Rows whose object is missing.
    pub records_without_object: usize,
}

impl Reconciler {
    /// Compares this bucket with these rows.
    pub fn new(db: Database, bucket: Bucket, clock: Clock, config: &ReconcilerConfig) -> Self {
        Self {
            db,
            bucket,
            clock,
            every: Duration::from_secs(config.every_secs.max(1).into()),
            grace: TimeDelta::seconds(config.grace_secs.into()),
        }
    }

    /// Looks again and again until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        // From zero on, so that the first is seen to be one more.
        repaired(0);
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.every) => {}
                () = stopping.cancelled() => return,
            }
            let looked = tokio::select! {
                looked = self.look() => looked,
                () = stopping.cancelled() => return,
            };
            match looked {
                Ok(0) => {}
                Ok(removed) => tracing::info!(removed, "objects without a record removed"),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "will look through the bucket later");
                }
            }
        }
    }

    /// One look through the bucket, unless another replica is at it. Answers how many objects were
    /// removed.
    pub async fn look(&self) -> Result<usize, Error> {
        let Some(mut lease) = Lease::try_take(&self.db, "verification.reconciler").await? else {
            return Ok(0);
        };
        let mut removed = 0;
        for prefix in [AUDIO_PREFIX, UPLOAD_PREFIX] {
            removed += self.sweep(lease.connection(), prefix).await?;
        }
        lease.release().await?;
        repaired(u64::try_from(removed).unwrap_or(u64::MAX));
        Ok(removed)
    }

    async fn sweep(&self, db: &mut PgConnection, prefix: &str) -> Result<usize, Error> {
        let old = self.clock.now() - self.grace;
        let mut removed = 0;
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page = self.bucket.list(prefix, &after).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.key.clone();
            for key in orphans(db, page, old).await? {
                self.bucket.delete(&key).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Looks at everything and changes nothing. Uploads under way show up as differences.
    pub async fn compare(&self) -> Result<Differences, Error> {
        let mut connection = self.db.acquire().await?;
        let mut differences = Differences::default();
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page = self.bucket.list(AUDIO_PREFIX, &after).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.key.clone();
            let orphans = orphans(&mut connection, page, DateTime::<Utc>::MAX_UTC).await?;
            differences.objects_without_record += orphans.len();
        }
        differences.records_without_object = self.records_without_object(&mut connection).await?;
        Ok(differences)
    }

    async fn records_without_object(&self, db: &mut PgConnection) -> Result<usize, Error> {
        let mut missing = 0;
        let mut after = 0;
        loop {
            let records =
                listener_verifications::keys_after(db, after, RECORDS_CHECKED_AT_ONCE).await?;
            let Some((last, _)) = records.last() else {
                return Ok(missing);
            };
            after = *last;
            for (_, key) in records {
                if let Audio::Object(key) = Audio::stored(key)
                    && !self.bucket.has(&key).await?
                {
                    missing += 1;
                }
            }
        }
    }
}

fn repaired(objects: u64) {
    metrics::counter!("reconciler_repairs_total", "reconciler" => "verification-bucket")
        .increment(objects);
}

/// Keys of objects put before `old` that no row names.
async fn orphans(
    db: &mut PgConnection,
    page: Vec<Listed>,
    old: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    let aged = page.into_iter().filter(|object| object.modified_at < old);
    let mut keys: Vec<String> = aged.map(|object| object.key).collect();
    let recorded = listener_verifications::recorded(db, &keys).await?;
    keys.retain(|key| !recorded.contains(key));
    Ok(keys)
}
