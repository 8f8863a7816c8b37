//! Builds requested exports and deletes old ones, in the background.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use chrono::TimeDelta;
use talktime_kit::error::chain;
use talktime_kit::export::{self, UserExportCursor};
use talktime_kit::messaging::outbox;
use talktime_kit::periodic::WorkWaker;
use tokio::task::spawn_blocking;

use super::archive::{ExportArchiveWriter, WrittenExportArchive};
use crate::domain::{DataExport, KEPT_FOR};
use crate::events::export_ready_event;
use crate::peers::UserDataSource;
use crate::service::VerificationServiceParts;
use crate::store::{self, data_exports, standings};
use crate::uploads::delete_object_best_effort;

const CONTENT_TYPE: &str = "application/zip";
/// Time for which a process that has claimed an export may build it; another one starts over afterwards.
const LEASE: TimeDelta = TimeDelta::minutes(6);
/// Pages that one service may return for one user: half a million records.
const PAGES_MAX: usize = 1_000;
const EXPIRED_PER_TURN: i64 = 100;
/// The name of this service in an archive.
const OWN_NAME: &str = "verification";

/// Builds exports; cheap to clone.
#[derive(Clone)]
pub struct DataExportBuilder {
    parts: VerificationServiceParts,
    sources: Arc<[UserDataSource]>,
    /// Directory of archives that are being written.
    dir: PathBuf,
}

impl DataExportBuilder {
    pub fn new(
        parts: VerificationServiceParts,
        sources: Vec<UserDataSource>,
        dir: PathBuf,
    ) -> Self {
        Self {
            parts,
            sources: sources.into(),
            dir,
        }
    }

    /// Returns what is woken when an export was requested.
    pub(crate) fn waker(&self) -> WorkWaker {
        self.parts.requested_exports.clone()
    }

    /// Builds one requested export. Returns whether there was one.
    pub async fn build_next(&self) -> anyhow::Result<bool> {
        let now = self.parts.clock.now();
        // Most turns find none, and cost one round trip.
        let exist_due = self
            .parts
            .db
            .poll(move |db| Box::pin(data_exports::exist_due(db, now)));
        if !exist_due.await? {
            return Ok(false);
        }
        let mut tx = self.parts.db.begin().await?;
        let claimed = data_exports::claim_due(&mut tx, now, LEASE).await?;
        tx.commit().await?;
        let Some(export) = claimed else {
            return Ok(false);
        };
        let built = if export.may_be_attempted() {
            self.build(&export).await
        } else {
            Err(anyhow!("earlier attempts did not end"))
        };
        if let Err(error) = built {
            tracing::warn!(
                user_id = export.user_id,
                export_id = export.export_id,
                attempts = export.attempts,
                error = format!("{error:#}"),
                "failed to build an export; it is built again unless this was the last attempt"
            );
            self.record_failure(&export).await?;
        }
        Ok(true)
    }

    async fn record_failure(&self, export: &DataExport) -> anyhow::Result<()> {
        let next = export.next_attempt(self.parts.clock.now());
        let mut tx = self.parts.db.begin().await?;
        data_exports::record_failure(&mut tx, export.export_id, next).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn build(&self, export: &DataExport) -> anyhow::Result<()> {
        let archive = self.collect(export.user_id).await?;
        let length_bytes = archive.length_bytes;
        let key = export.object_key();
        let bucket = &self.parts.bucket;
        bucket
            .put(&key, CONTENT_TYPE, archive.file, length_bytes)
            .await?;
        if !self.publish(export, length_bytes).await? {
            delete_object_best_effort(bucket, &key).await;
        }
        Ok(())
    }

    /// Marks an export as ready and publishes the event. Returns `false` if its user was deleted.
    async fn publish(&self, export: &DataExport, length_bytes: u64) -> anyhow::Result<bool> {
        let now = self.parts.clock.now();
        let expires_at = now + KEPT_FOR;
        let (user_id, export_id) = (export.user_id, export.export_id);
        let length_bytes = i64::try_from(length_bytes)?;
        let mut tx = self.parts.db.begin().await?;
        standings::lock(&mut tx, user_id).await?;
        let is_ready =
            data_exports::mark_ready(&mut tx, export_id, length_bytes, now, expires_at).await?;
        if !is_ready {
            return Ok(false);
        }
        let version = standings::increment_version(&mut tx, user_id).await?;
        let event = export_ready_event(user_id, export_id, expires_at);
        outbox::append(&mut tx, user_id, version, now, event).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(user_id, export_id, length_bytes, "built an export");
        Ok(true)
    }

    /// Writes the data of all services into an archive.
    async fn collect(&self, user_id: i64) -> anyhow::Result<WrittenExportArchive> {
        let dir = self.dir.clone();
        let mut writer = run_blocking(move || ExportArchiveWriter::begin(&dir)).await?;
        writer = self.collect_own(user_id, writer).await?;
        for source in self.sources.iter() {
            let collected = collect_from(source, user_id, writer).await;
            writer = collected.with_context(|| format!("failed to export from {}", source.name))?;
        }
        run_blocking(move || writer.finish()).await
    }

    async fn collect_own(
        &self,
        user_id: i64,
        mut writer: ExportArchiveWriter,
    ) -> anyhow::Result<ExportArchiveWriter> {
        let sections = store::export::SECTIONS;
        let mut next = Some(UserExportCursor::START);
        for _ in 0..PAGES_MAX {
            let Some(cursor) = next else {
                return Ok(writer);
            };
            let page = export::load_page(&self.parts.db, sections, user_id, cursor).await?;
            let section = format!("{OWN_NAME}/{}", page.section);
            let records = page.records.iter().map(ToString::to_string).collect();
            writer = append(writer, section, records).await?;
            next = page.next;
        }
        bail!("too many records")
    }

    /// Deletes archives that were kept for long enough. Returns how many there were.
    pub async fn delete_expired(&self) -> anyhow::Result<usize> {
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        let expired = data_exports::lock_expired(&mut tx, now, EXPIRED_PER_TURN).await?;
        let export_ids: Vec<i64> = expired.iter().map(|export| export.export_id).collect();
        data_exports::mark_expired(&mut tx, &export_ids).await?;
        tx.commit().await?;
        for export in &expired {
            delete_object_best_effort(&self.parts.bucket, &export.object_key()).await;
        }
        Ok(expired.len())
    }
}

/// Appends all pages of a service to an archive.
async fn collect_from(
    source: &UserDataSource,
    user_id: i64,
    mut writer: ExportArchiveWriter,
) -> anyhow::Result<ExportArchiveWriter> {
    let mut cursor = String::new();
    for _ in 0..PAGES_MAX {
        let page = source.fetch_page(user_id, &cursor).await;
        let page = page.map_err(|error| anyhow!(chain(&error)))?;
        let section = format!("{}/{}", source.name, page.section);
        writer = append(writer, section, page.records).await?;
        if page.next_cursor.is_empty() {
            return Ok(writer);
        }
        cursor = page.next_cursor;
    }
    bail!("too many records")
}

/// Appends records on a thread that may block.
async fn append(
    mut writer: ExportArchiveWriter,
    section: String,
    records: Vec<String>,
) -> anyhow::Result<ExportArchiveWriter> {
    run_blocking(move || {
        writer.append(&section, &records)?;
        Ok(writer)
    })
    .await
}

/// Runs a step of an archive on a thread that may block.
#[allow(
    clippy::disallowed_methods,
    reason = "a process builds one export at a time, so it has one such thread at most"
)]
async fn run_blocking<T: Send + 'static>(
    step: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    spawn_blocking(step).await?
}
