//! Where anchors are kept: in a bucket whose objects cannot be deleted or replaced for years, or in a folder.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use aws_sdk_s3::Client;
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::primitives::DateTime as SmithyDateTime;
use aws_sdk_s3::types::{ChecksumAlgorithm, Object, ObjectLockMode};
use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::deadlines::{PeerKind, await_answer};
use talktime_kit::object_store::{S3Config, build_client};

const PREFIX: &str = "ledger-anchors/";
/// The content of an anchor, which has some megabytes at most.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Names in one page of a listing of the bucket.
const LISTED_MAX: i32 = 1_000;

/// Keeps stored anchors by their numbers. What is there is never replaced.
pub enum AnchorStorage {
    /// For development: whoever has the machine has the folder.
    Folder(PathBuf),
    /// A bucket with Object Lock.
    Bucket(AnchorBucket),
}

/// A bucket in which anchors are locked for some time.
pub struct AnchorBucket {
    client: Client,
    name: String,
    locked_for: TimeDelta,
}

impl AnchorBucket {
    /// Returns the configured bucket. The first request opens the connection.
    pub fn new(config: &S3Config, locked_days: u32) -> anyhow::Result<Self> {
        Ok(Self {
            client: build_client(config)?,
            name: config.bucket.clone(),
            locked_for: TimeDelta::days(locked_days.into()),
        })
    }

    async fn list_after(&self, number: u64) -> anyhow::Result<Vec<u64>> {
        let request = self.client.list_objects_v2().bucket(&self.name);
        let request = request.prefix(PREFIX).max_keys(LISTED_MAX);
        let page = request.start_after(key_of(number)).send().await;
        let page = page.map_err(describe)?;
        let keys = page.contents().iter().filter_map(Object::key);
        Ok(keys.filter_map(parse_name).collect())
    }

    async fn read(&self, number: u64) -> anyhow::Result<Vec<u8>> {
        let request = self.client.get_object().bucket(&self.name);
        let object = request.key(key_of(number)).send().await.map_err(describe)?;
        let content = await_answer(PeerKind::ObjectStore, READ_TIMEOUT, object.body.collect());
        Ok(content.await??.to_vec())
    }

    async fn create(&self, number: u64, stored: Vec<u8>, now: DateTime<Utc>) -> anyhow::Result<()> {
        let locked_until = (now + self.locked_for).timestamp();
        let request = self.client.put_object().bucket(&self.name);
        let request = request
            .key(key_of(number))
            .if_none_match("*")
            .object_lock_mode(ObjectLockMode::Compliance)
            .object_lock_retain_until_date(SmithyDateTime::from_secs(locked_until))
            // A lock is accepted only with a checksum.
            .checksum_algorithm(ChecksumAlgorithm::Sha256)
            .body(stored.into());
        request.send().await.map_err(describe)?;
        Ok(())
    }
}

impl AnchorStorage {
    /// Returns some numbers of anchors after this one, in order; none after the last one.
    pub async fn list_after(&self, number: u64) -> anyhow::Result<Vec<u64>> {
        match self {
            Self::Folder(folder) => list_folder_after(folder, number)
                .await
                .with_context(|| format!("cannot list {}", folder.display())),
            Self::Bucket(bucket) => bucket.list_after(number).await,
        }
    }

    /// Reads a stored anchor.
    pub async fn read(&self, number: u64) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::Folder(folder) => {
                let file = folder.join(name_of(number));
                let stored = tokio::fs::read(&file).await;
                stored.with_context(|| format!("cannot read {}", file.display()))
            }
            Self::Bucket(bucket) => bucket.read(number).await,
        }
    }

    /// Stores an anchor.
    ///
    /// # Errors
    /// There is one with this number already, or the storage does not answer.
    pub async fn create(
        &self,
        number: u64,
        stored: Vec<u8>,
        now: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        match self {
            Self::Folder(folder) => create_file(folder, number, stored)
                .await
                .with_context(|| format!("cannot write to {}", folder.display())),
            Self::Bucket(bucket) => bucket.create(number, stored, now).await,
        }
    }
}

async fn list_folder_after(folder: &Path, number: u64) -> std::io::Result<Vec<u64>> {
    let mut entries = match tokio::fs::read_dir(folder).await {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut numbers = Vec::new();
    while let Some(entry) = entries.next_entry().await? {
        let found = entry.file_name().to_str().and_then(parse_name);
        numbers.extend(found.filter(|found| *found > number));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Writes the file beside its place first, so that an anchor is there as a whole or not at all.
async fn create_file(folder: &Path, number: u64, stored: Vec<u8>) -> std::io::Result<()> {
    tokio::fs::create_dir_all(folder).await?;
    let unfinished = folder.join("unfinished");
    // A process that ended just after the link below has left it, as another name of the anchor before.
    match tokio::fs::remove_file(&unfinished).await {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    tokio::fs::write(&unfinished, stored).await?;
    // Fails if the number is taken, where a renaming would replace its anchor.
    tokio::fs::hard_link(&unfinished, folder.join(name_of(number))).await?;
    tokio::fs::remove_file(&unfinished).await
}

/// Numbers have one length, so that names are in their order.
fn name_of(number: u64) -> String {
    format!("{number:010}")
}

fn key_of(number: u64) -> String {
    format!("{PREFIX}{}", name_of(number))
}

fn parse_name(name: &str) -> Option<u64> {
    name.trim_start_matches(PREFIX).parse().ok()
}

fn describe(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow::anyhow!("the bucket of anchors: {}", DisplayErrorContext(error))
}
