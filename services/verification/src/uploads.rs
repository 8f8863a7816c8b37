//! Uploads of clients to the bucket, for any kind of file.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::bucket::ObjectBucket;
use crate::domain::{UploadFormat, UploadTicket, VerificationError};
use crate::service::VerificationServiceParts;
use crate::spool::SpooledUploadFile;

/// Permission to put one object into the bucket.
#[derive(Clone, Debug)]
pub struct IssuedUploadTicket {
    /// Identifies the upload in its confirmation.
    pub upload_id: String,
    /// Presigned address for the PUT.
    pub upload_url: String,
    pub expires_at: DateTime<Utc>,
}

/// A file that a client is about to upload.
#[derive(Clone, Copy)]
pub(crate) struct AnnouncedFile<'a> {
    pub(crate) length_bytes: i64,
    pub(crate) content_type: &'a str,
}

/// Signs the address of a ticket for one file.
pub(crate) async fn issue_ticket<F: UploadFormat>(
    parts: &VerificationServiceParts,
    user_id: i64,
    ticket: UploadTicket<F>,
    file: AnnouncedFile<'_>,
    validity: Duration,
) -> Result<IssuedUploadTicket, VerificationError> {
    let key = ticket.key(user_id);
    let upload_url = parts
        .bucket
        .presign_put(&key, file.length_bytes, file.content_type, validity);
    Ok(IssuedUploadTicket {
        upload_id: ticket.id(),
        upload_url: upload_url.await?,
        expires_at: parts.clock.now() + validity,
    })
}

/// Copies an uploaded object to the spool, where nobody can replace it.
pub(crate) async fn fetch_upload<F: UploadFormat>(
    parts: &VerificationServiceParts,
    key: &str,
) -> Result<SpooledUploadFile<F>, VerificationError> {
    let mut upload = parts.spool.begin_upload()?;
    let object = parts.bucket.get(key).await?;
    let mut object = object.ok_or(VerificationError::NoSuchUpload)?;
    while let Some(chunk) = object.next_chunk().await? {
        upload.write(&chunk).await?;
    }
    upload.finish().await
}

/// Deletes an object that no row names. The reconciler deletes it if this fails.
pub(crate) async fn delete_object_best_effort(bucket: &ObjectBucket, key: &str) {
    if let Err(error) = bucket.delete(key).await {
        tracing::warn!(%error, "failed to delete an object; the reconciler removes it later");
    }
}
