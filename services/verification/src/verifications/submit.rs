//! How samples come in: through us, by a ticket of the store's, or as an address.
//!
//! The object is put first and its row is written after, so no row is ever without an object. What
//! dies between the two leaves an object without a row, which [`crate::reconciler`] removes.

use chrono::{DateTime, Utc};
use talktime_kit::db::is_unique_violation;
use talktime_kit::messaging::outbox;
use talktime_kit::{Error, failpoint};
use talktime_proto::events::v1::VerificationSubmitted;
use talktime_proto::events::v1::event::Kind;
use uuid::Uuid;

use super::Verifications;
use crate::domain::{
    AUDIO_BYTES_MAX, AudioKind, Sample, Ticket, VerificationError, address, audio_key,
    normalize_text,
};
use crate::spool::{Arrived, Incoming};
use crate::store::{listener_verifications, standings};

const DESCRIPTION: &str = "description";

/// A permission to put one object into the store.
#[derive(Clone, Debug)]
pub struct IssuedTicket {
    /// What to confirm by.
    pub upload_id: String,
    /// Where to put the object.
    pub upload_url: String,
    /// Until when.
    pub expires_at: DateTime<Utc>,
}

impl Verifications {
    /// A place for a listener's sample. Refuses before the first byte what would be refused after the
    /// last.
    pub async fn begin_upload(&self, user_id: i64) -> Result<Incoming, VerificationError> {
        self.check_may_send(user_id).await?;
        self.parts.spool.begin()
    }

    /// Keeps a sample that has come in.
    pub async fn finish_upload(
        &self,
        user_id: i64,
        incoming: Incoming,
        description: Option<String>,
    ) -> Result<Sample, VerificationError> {
        let description = normalize_text(DESCRIPTION, description)?;
        let arrived = incoming.finish().await?;
        self.keep(user_id, &arrived, description.as_deref()).await
    }

    /// Keeps the address of a sample. It is never fetched.
    pub async fn submit_address(
        &self,
        user_id: i64,
        audio_url: &str,
        description: Option<String>,
    ) -> Result<Sample, VerificationError> {
        let description = normalize_text(DESCRIPTION, description)?;
        let audio_url = address::check(audio_url, &self.allowed_hosts)?;
        self.check_may_send(user_id).await?;
        let now = self.parts.clock.now();
        self.record(user_id, &audio_url, description.as_deref(), now)
            .await
    }

    /// Lets a listener put a file into the store without us.
    pub async fn issue_ticket(
        &self,
        user_id: i64,
        length_bytes: i64,
        content_type: &str,
    ) -> Result<IssuedTicket, VerificationError> {
        let kind = AudioKind::of_content_type(content_type);
        let kind = kind.ok_or(VerificationError::InvalidContentType)?;
        let is_length =
            u64::try_from(length_bytes).is_ok_and(|bytes| (1..=AUDIO_BYTES_MAX).contains(&bytes));
        if !is_length {
            return Err(VerificationError::InvalidLength);
        }
        self.check_may_send(user_id).await?;
        let ticket = Ticket {
            unique: Uuid::new_v4(),
            kind,
        };
        let key = ticket.key(user_id);
        let upload_url =
            self.parts
                .bucket
                .presigned_put(&key, length_bytes, content_type, self.ticket_lasts);
        Ok(IssuedTicket {
            upload_id: ticket.id(),
            upload_url: upload_url.await?,
            expires_at: self.parts.clock.now() + self.ticket_lasts,
        })
    }

    /// Keeps what was put under a ticket. It is copied: the ticket may still be used, and what was
    /// judged must be what is heard.
    pub async fn confirm(
        &self,
        user_id: i64,
        upload_id: &str,
        description: Option<String>,
    ) -> Result<Sample, VerificationError> {
        let description = normalize_text(DESCRIPTION, description)?;
        self.check_may_send(user_id).await?;
        let ticket = Ticket::parse(upload_id).ok_or(VerificationError::NoSuchUpload)?;
        let key = ticket.key(user_id);
        let arrived = self.fetch(&key).await?;
        if arrived.kind != ticket.kind {
            return Err(VerificationError::UnsupportedAudio);
        }
        let sample = self.keep(user_id, &arrived, description.as_deref()).await?;
        self.delete_at_best(&key).await;
        Ok(sample)
    }

    async fn fetch(&self, key: &str) -> Result<Arrived, VerificationError> {
        let mut incoming = self.parts.spool.begin()?;
        let object = self.parts.bucket.get(key).await?;
        let mut body = object.ok_or(VerificationError::NoSuchUpload)?.body;
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(|error| {
                Error::new(
                    talktime_kit::Kind::Unavailable,
                    "storage_unavailable",
                    "The store of audio samples went away; please try again in a moment.",
                )
                .with_source(error)
            })?;
            incoming.push(&chunk).await?;
        }
        incoming.finish().await
    }

    /// Most refusals can be known beforehand; the index has the last word.
    async fn check_may_send(&self, user_id: i64) -> Result<(), VerificationError> {
        self.check_listener(user_id).await?;
        let mut connection = self.parts.db.acquire().await?;
        if listener_verifications::has_pending(&mut connection, user_id).await? {
            return Err(VerificationError::AlreadyPending);
        }
        Ok(())
    }

    async fn keep(
        &self,
        user_id: i64,
        arrived: &Arrived,
        description: Option<&str>,
    ) -> Result<Sample, VerificationError> {
        let Arrived {
            kind, length_bytes, ..
        } = *arrived;
        self.parts.prober.check(kind, arrived.reader()?).await?;
        let now = self.parts.clock.now();
        let key = audio_key(user_id, now, Uuid::new_v4(), kind);
        let file = arrived.reader()?;
        let bucket = &self.parts.bucket;
        bucket
            .put(&key, kind.content_type(), file, length_bytes)
            .await?;
        failpoint::reach("verification.upload.stored");
        let recorded = self.record(user_id, &key, description, now).await;
        failpoint::reach("verification.upload.recorded");
        if let Err(VerificationError::AlreadyPending | VerificationError::UserGone) = &recorded {
            self.delete_at_best(&key).await;
        }
        recorded
    }

    async fn record(
        &self,
        user_id: i64,
        audio_url: &str,
        description: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Sample, VerificationError> {
        let mut tx = self.parts.db.begin().await?;
        if standings::lock(&mut tx, user_id).await?.is_deleted {
            return Err(VerificationError::UserGone);
        }
        let sample =
            listener_verifications::insert(&mut tx, user_id, audio_url, description, now).await;
        let sample = sample.map_err(|error| {
            if is_unique_violation(&error, listener_verifications::ONE_PENDING_INDEX) {
                VerificationError::AlreadyPending
            } else {
                error.into()
            }
        })?;
        let version = standings::touch(&mut tx, user_id).await?;
        let event = Kind::VerificationSubmitted(VerificationSubmitted {
            user_id,
            verification_id: sample.verification_id,
        });
        outbox::append(&mut tx, user_id, version, now, event).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(
            user_id,
            verification_id = sample.verification_id,
            "sample kept"
        );
        Ok(sample)
    }

    async fn delete_at_best(&self, key: &str) {
        if let Err(error) = self.parts.bucket.delete(key).await {
            tracing::warn!(%error, "the reconciler will remove this object");
        }
    }
}
