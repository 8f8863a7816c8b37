//! Submissions of samples: uploaded through the service, uploaded to the bucket with a ticket, or given as an
//! address.
//!
//! The object is stored before its row is written, so no row is ever without an object. A process that dies
//! in between leaves an object without a row, which [`crate::jobs::reconcile_bucket`] removes.

use chrono::{DateTime, Utc};
use talktime_kit::db::is_unique_violation;
use talktime_kit::failpoint;
use talktime_kit::messaging::outbox;
use uuid::Uuid;

use crate::domain::{
    AudioFormat, AudioSample, UploadTicket, VerificationError, build_sample_key,
    check_upload_length, normalize_address, normalize_text,
};
use crate::events::submitted_event;
use crate::service::AudioSampleService;
use crate::spool::{SpooledUploadFile, UploadWriter};
use crate::store::{listener_verifications, standings};
use crate::uploads::{
    AnnouncedFile, IssuedUploadTicket, delete_object_best_effort, fetch_upload, issue_ticket,
};

const DESCRIPTION: &str = "description";

impl AudioSampleService {
    /// Begins an upload through the service. Checks before the first byte whether the listener may submit a
    /// sample at all.
    pub async fn begin_upload(
        &self,
        user_id: i64,
    ) -> Result<UploadWriter<AudioFormat>, VerificationError> {
        self.check_may_submit(user_id).await?;
        self.parts.spool.begin_upload()
    }

    /// Judges and stores a sample that was uploaded through the service.
    pub async fn finish_upload(
        &self,
        user_id: i64,
        upload: UploadWriter<AudioFormat>,
        description: Option<String>,
    ) -> Result<AudioSample, VerificationError> {
        let description = normalize_text(DESCRIPTION, description)?;
        let file = upload.finish().await?;
        self.store_sample(user_id, &file, description.as_deref())
            .await
    }

    /// Stores a sample that is given by its address. The service never fetches it.
    pub async fn submit_address(
        &self,
        user_id: i64,
        audio_url: &str,
        description: Option<String>,
    ) -> Result<AudioSample, VerificationError> {
        let description = normalize_text(DESCRIPTION, description)?;
        let audio_url = normalize_address(audio_url, &self.allowed_hosts)?;
        self.check_may_submit(user_id).await?;
        let now = self.parts.clock.now();
        self.insert_sample(user_id, &audio_url, description.as_deref(), now)
            .await
    }

    /// Issues a ticket with which a listener uploads a file to the bucket directly.
    pub async fn issue_ticket(
        &self,
        user_id: i64,
        length_bytes: i64,
        content_type: &str,
    ) -> Result<IssuedUploadTicket, VerificationError> {
        let format = AudioFormat::from_content_type(content_type);
        let format = format.ok_or(VerificationError::InvalidContentType)?;
        check_upload_length::<AudioFormat>(length_bytes)?;
        self.check_may_submit(user_id).await?;
        let ticket = UploadTicket {
            unique: Uuid::new_v4(),
            format,
        };
        let file = AnnouncedFile {
            length_bytes,
            content_type,
        };
        issue_ticket(&self.parts, user_id, ticket, file, self.ticket_validity).await
    }

    /// Judges and stores what was uploaded with a ticket. The object is copied, since its ticket can still be
    /// used to replace it after it was judged.
    pub async fn confirm_upload(
        &self,
        user_id: i64,
        upload_id: &str,
        description: Option<String>,
    ) -> Result<AudioSample, VerificationError> {
        let description = normalize_text(DESCRIPTION, description)?;
        self.check_may_submit(user_id).await?;
        let ticket =
            UploadTicket::<AudioFormat>::parse(upload_id).ok_or(VerificationError::NoSuchUpload)?;
        let key = ticket.key(user_id);
        let file = fetch_upload::<AudioFormat>(&self.parts, &key).await?;
        if file.format != ticket.format {
            return Err(VerificationError::UnsupportedAudio);
        }
        let sample = self
            .store_sample(user_id, &file, description.as_deref())
            .await?;
        delete_object_best_effort(&self.parts.bucket, &key).await;
        Ok(sample)
    }

    /// Checks early what would be refused later anyway. Concurrent submissions are refused by the unique index.
    async fn check_may_submit(&self, user_id: i64) -> Result<(), VerificationError> {
        self.check_listener(user_id).await?;
        let mut connection = self.parts.db.acquire().await?;
        if listener_verifications::has_pending(&mut connection, user_id).await? {
            return Err(VerificationError::AlreadyPending);
        }
        Ok(())
    }

    async fn store_sample(
        &self,
        user_id: i64,
        file: &SpooledUploadFile<AudioFormat>,
        description: Option<&str>,
    ) -> Result<AudioSample, VerificationError> {
        let format = file.format;
        self.parts.probe.check(format, file.open()?).await?;
        let now = self.parts.clock.now();
        let key = build_sample_key(user_id, now, Uuid::new_v4(), format);
        let (content_type, length_bytes) = (format.content_type(), file.length_bytes);
        let bucket = &self.parts.bucket;
        bucket
            .put(&key, content_type, file.open()?, length_bytes)
            .await?;
        failpoint::reach("verification.upload.stored");
        let inserted = self.insert_sample(user_id, &key, description, now).await;
        failpoint::reach("verification.upload.recorded");
        if let Err(VerificationError::AlreadyPending | VerificationError::UserGone) = &inserted {
            delete_object_best_effort(&self.parts.bucket, &key).await;
        }
        inserted
    }

    async fn insert_sample(
        &self,
        user_id: i64,
        audio_url: &str,
        description: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<AudioSample, VerificationError> {
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
        let version = standings::increment_version(&mut tx, user_id).await?;
        outbox::append(&mut tx, user_id, version, now, submitted_event(&sample)).await?;
        tx.commit().await?;
        self.parts.relay.wake();
        tracing::info!(
            user_id,
            verification_id = sample.verification_id,
            "stored a sample"
        );
        Ok(sample)
    }
}
