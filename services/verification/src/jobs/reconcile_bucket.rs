//! Removes objects that no row names: those of uploads that were interrupted, of tickets that were never
//! confirmed, and of deleted users. One replica works at a time.

use std::borrow::Cow;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::lease::Lease;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};
use talktime_kit::{Clock, Error};
use uuid::Uuid;

use crate::bucket::{ListedBucketObject, ObjectBucket};
use crate::config::BucketReconcilerConfig;
use crate::domain::{
    AudioFormat, AudioLocation, EXPORT_PREFIX, PHOTO_PREFIX, PhotoFormat, SAMPLE_PREFIX,
    UploadFormat, parse_archive_key, parse_photo_key,
};
use crate::metrics::record_removed_objects;
use crate::store::{data_exports, listener_verifications, profile_photos};

/// Pages of the bucket that one run reads, at most; the next run begins at the first page again.
const PAGES_MAX: usize = 10_000;
/// Prefixes of objects that rows name.
const RECORDED_PREFIXES: [&str; 3] = [SAMPLE_PREFIX, PHOTO_PREFIX, EXPORT_PREFIX];
/// Prefixes of all objects. No row names an upload, which is deleted once its file is stored elsewhere.
const ALL_PREFIXES: [&str; 5] = [
    SAMPLE_PREFIX,
    PHOTO_PREFIX,
    EXPORT_PREFIX,
    AudioFormat::UPLOAD_PREFIX,
    PhotoFormat::UPLOAD_PREFIX,
];
const RECORDS_PER_PAGE: i64 = 500;
/// Time limit of one run; a large bucket has thousands of pages.
const RUN_TIMEOUT: Duration = Duration::from_mins(30);
const LEASE_NAME: &str = "verification.reconciler";

/// Keeps the bucket consistent with the rows; cheap to clone.
#[derive(Clone)]
pub struct BucketReconciler {
    db: DatabasePool,
    bucket: ObjectBucket,
    clock: Clock,
    every: Duration,
    grace: TimeDelta,
}

/// Numbers of objects and rows that lack their counterpart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BucketDifferenceCounts {
    pub objects_without_record: usize,
    pub records_without_object: usize,
}

impl BucketReconciler {
    /// Returns a reconciler of a bucket and a migrated database.
    pub fn new(
        db: DatabasePool,
        bucket: ObjectBucket,
        clock: Clock,
        config: &BucketReconcilerConfig,
    ) -> Self {
        Self {
            db,
            bucket,
            clock,
            every: Duration::from_secs(config.every_secs.max(1).into()),
            grace: TimeDelta::seconds(config.grace_secs.into()),
        }
    }

    /// Removes orphaned objects periodically until the service stops.
    pub fn start(self, lifecycle: &ProcessLifecycle) {
        // The counter starts at zero, so that the first increment is visible as one.
        record_removed_objects(0);
        let work = PeriodicWork {
            name: Cow::Borrowed(LEASE_NAME),
            interval: self.every,
            retry_after: self.every,
            deadline: RUN_TIMEOUT,
            first_turn: FirstTurnStart::AfterInterval,
        };
        periodic::start(lifecycle, work, move || {
            let reconciler = self.clone();
            async move {
                let removed = reconciler.run_leased().await;
                let removed = removed.context("failed to reconcile the bucket")?;
                if removed > 0 {
                    tracing::info!(removed, "removed objects without a record");
                }
                Ok(NextTurnStart::AfterInterval)
            }
        });
    }

    /// Removes orphaned objects once, unless another replica holds the lease. Returns how many were removed.
    pub async fn run_leased(&self) -> Result<usize, Error> {
        let Some(mut lease) = Lease::try_take(&self.db, LEASE_NAME).await? else {
            return Ok(0);
        };
        let mut removed = 0;
        for prefix in ALL_PREFIXES {
            removed += self.remove_orphans(lease.connection(), prefix).await?;
        }
        lease.release().await?;
        record_removed_objects(u64::try_from(removed).unwrap_or(u64::MAX));
        Ok(removed)
    }

    async fn remove_orphans(&self, db: &mut PgConnection, prefix: &str) -> Result<usize, Error> {
        let modified_before = self.clock.now() - self.grace;
        let mut removed = 0;
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page = self.bucket.list(prefix, &after).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.key.clone();
            for key in find_orphans(db, page, modified_before).await? {
                self.bucket.delete(&key).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }

    /// Compares all objects with all rows and changes nothing. Uploads in progress count as differences.
    pub async fn find_differences(&self) -> Result<BucketDifferenceCounts, Error> {
        let mut connection = self.db.acquire().await?;
        let db = &mut *connection;
        let mut differences = BucketDifferenceCounts::default();
        for prefix in RECORDED_PREFIXES {
            differences.objects_without_record += self.count_orphans(db, prefix).await?;
        }
        differences.records_without_object += self.count_missing_samples(db).await?;
        differences.records_without_object += self.count_missing_photos(db).await?;
        Ok(differences)
    }

    async fn count_orphans(&self, db: &mut PgConnection, prefix: &str) -> Result<usize, Error> {
        let mut orphans = 0;
        let mut after = String::new();
        for _ in 0..PAGES_MAX {
            let page = self.bucket.list(prefix, &after).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = last.key.clone();
            orphans += find_orphans(db, page, DateTime::<Utc>::MAX_UTC)
                .await?
                .len();
        }
        Ok(orphans)
    }

    async fn count_missing_samples(&self, db: &mut PgConnection) -> Result<usize, Error> {
        let mut missing = 0;
        let mut after = 0;
        loop {
            let records =
                listener_verifications::list_keys_after(db, after, RECORDS_PER_PAGE).await?;
            let Some((last, _)) = records.last() else {
                return Ok(missing);
            };
            after = *last;
            for (_, key) in records {
                if let AudioLocation::Object(key) = AudioLocation::from_column(key)
                    && !self.bucket.has(&key).await?
                {
                    missing += 1;
                }
            }
        }
    }

    async fn count_missing_photos(&self, db: &mut PgConnection) -> Result<usize, Error> {
        let mut missing = 0;
        let mut after = 0;
        loop {
            let photos = profile_photos::list_after(db, after, RECORDS_PER_PAGE).await?;
            let Some(last) = photos.last() else {
                return Ok(missing);
            };
            after = last.photo_id;
            for photo in photos {
                if !self.bucket.has(&photo.object_key()).await? {
                    missing += 1;
                }
            }
        }
    }
}

/// Keys of the objects of a page that were modified before `modified_before` and that no row names.
async fn find_orphans(
    db: &mut PgConnection,
    page: Vec<ListedBucketObject>,
    modified_before: DateTime<Utc>,
) -> sqlx::Result<Vec<String>> {
    let aged = page
        .into_iter()
        .filter(|object| object.modified_at < modified_before);
    let mut keys: Vec<String> = aged.map(|object| object.key).collect();
    let samples = listener_verifications::list_recorded_keys(db, &keys).await?;
    let photo_keys: Vec<Uuid> = keys.iter().filter_map(|key| parse_photo_key(key)).collect();
    let photos = profile_photos::list_recorded_keys(db, &photo_keys).await?;
    let archive_keys: Vec<Uuid> = keys
        .iter()
        .filter_map(|key| parse_archive_key(key))
        .collect();
    let archives = data_exports::list_recorded_keys(db, &archive_keys).await?;
    let is_photo = |key: &str| parse_photo_key(key).is_some_and(|key| photos.contains(&key));
    let is_archive = |key: &str| parse_archive_key(key).is_some_and(|key| archives.contains(&key));
    keys.retain(|key| !samples.contains(key) && !is_photo(key) && !is_archive(key));
    Ok(keys)
}
