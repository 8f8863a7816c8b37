//! Exports of users' own data. A request writes a row; [`build`] collects the data of all services in the background,
//! writes an [`archive`] and publishes an event.

mod archive;
pub mod build;

use talktime_kit::Error;
use uuid::Uuid;

use crate::domain::{DataExport, DataExportState, VerificationError};
use crate::service::VerificationServiceParts;
use crate::store::{data_exports, standings};

/// An export, and the address from which its archive can be fetched at present.
#[derive(Clone, Debug)]
pub struct ExportWithAddress {
    pub export: DataExport,
    pub download_url: Option<String>,
}

/// The operations of users on exports; cheap to clone.
#[derive(Clone)]
pub struct UserExportService {
    parts: VerificationServiceParts,
}

impl UserExportService {
    pub fn new(parts: VerificationServiceParts) -> Self {
        Self { parts }
    }

    /// Requests an export. It replaces the one before, which must be a day old.
    pub async fn request_export(
        &self,
        user_id: i64,
    ) -> Result<ExportWithAddress, VerificationError> {
        let now = self.parts.clock.now();
        let mut tx = self.parts.db.begin().await?;
        if standings::lock(&mut tx, user_id).await?.is_deleted {
            return Err(VerificationError::UserGone);
        }
        if let Some(previous) = data_exports::find(&mut tx, user_id).await? {
            previous.check_next(now)?;
            // The reconciler removes its archive, which no row names any more.
            data_exports::delete(&mut tx, user_id).await?;
        }
        let export = data_exports::insert(&mut tx, user_id, Uuid::new_v4(), now).await?;
        tx.commit().await?;
        self.parts.requested_exports.wake();
        tracing::info!(user_id, export_id = export.export_id, "requested an export");
        Ok(ExportWithAddress {
            export,
            download_url: None,
        })
    }

    /// Loads the latest export of a user.
    pub async fn load_export(&self, user_id: i64) -> Result<ExportWithAddress, VerificationError> {
        let mut connection = self.parts.db.acquire().await?;
        let export = data_exports::find(&mut connection, user_id).await?;
        drop(connection);
        let export = export.ok_or(VerificationError::NoSuchExport)?;
        let download_url = self.resolve_address(&export).await?;
        Ok(ExportWithAddress {
            export,
            download_url,
        })
    }

    async fn resolve_address(&self, export: &DataExport) -> Result<Option<String>, Error> {
        if export.state != DataExportState::Ready {
            return Ok(None);
        }
        let url = self.parts.bucket.presign_get(&export.object_key()).await?;
        Ok(Some(url))
    }
}
