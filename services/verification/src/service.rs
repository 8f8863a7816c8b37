//! State of the verification service, which its operations share, and the lookups of listeners. The
//! operations that change something are in [`crate::samples`].

use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::db::DatabasePool;
use talktime_kit::messaging::Relay;
use talktime_kit::periodic::WorkWaker;

use crate::bucket::ObjectBucket;
use crate::config::UploadsConfig;
use crate::domain::{
    AudioLocation, AudioSample, ListenerVerification, ListenerVerificationState, SampleCounts,
    VerificationError,
};
use crate::peers::ProfileClient;
use crate::probe::AudioProbe;
use crate::spool::UploadSpool;
use crate::store::{listener_verifications, standings};

/// Standings that one request may list.
const STANDINGS_MAX: usize = 500;

/// Parts that the operations use.
#[derive(Clone)]
pub struct VerificationServiceParts {
    pub db: DatabasePool,
    pub relay: Relay,
    pub clock: Clock,
    pub bucket: ObjectBucket,
    pub profile: ProfileClient,
    pub spool: UploadSpool,
    pub probe: AudioProbe,
    /// Woken when an export was requested.
    pub requested_exports: WorkWaker,
}

/// The operations on samples; cheap to clone.
#[derive(Clone)]
pub struct AudioSampleService {
    pub(crate) parts: VerificationServiceParts,
    /// In lower case.
    pub(crate) allowed_hosts: Vec<String>,
    pub(crate) ticket_validity: Duration,
}

impl AudioSampleService {
    /// Returns the operations with the limits of `config`.
    pub fn new(parts: VerificationServiceParts, config: &UploadsConfig) -> Self {
        let lower = |host: &String| host.to_ascii_lowercase();
        Self {
            parts,
            allowed_hosts: config.allowed_hosts.iter().map(lower).collect(),
            ticket_validity: Duration::from_secs(config.ticket_secs.into()),
        }
    }

    /// Loads the state of a listener's verification. Refused for other users (contract, section 8).
    pub async fn load_verification(
        &self,
        user_id: i64,
    ) -> Result<ListenerVerification, VerificationError> {
        self.check_listener(user_id).await?;
        let mut connection = self.parts.db.acquire().await?;
        Ok(listener_verifications::load_verification(&mut connection, user_id).await?)
    }

    /// Lists the standings of many users, for services that keep a copy.
    pub async fn list_standings(
        &self,
        user_ids: &[i64],
    ) -> Result<Vec<ListenerVerificationState>, VerificationError> {
        if user_ids.len() > STANDINGS_MAX {
            return Err(VerificationError::TooManyUsers);
        }
        let mut connection = self.parts.db.acquire().await?;
        Ok(standings::list(&mut connection, user_ids).await?)
    }

    /// Lists the samples of a listener, newest first, and counts all of them.
    pub async fn list_history(
        &self,
        user_id: i64,
    ) -> Result<(Vec<AudioSample>, SampleCounts), VerificationError> {
        self.check_listener(user_id).await?;
        let mut connection = self.parts.db.acquire().await?;
        Ok(listener_verifications::list_history(&mut connection, user_id).await?)
    }

    /// Returns the address of a sample's audio, presigned if the audio is in our private bucket.
    pub async fn resolve_address(
        &self,
        location: &AudioLocation,
    ) -> Result<String, VerificationError> {
        match location {
            AudioLocation::Object(key) => Ok(self.parts.bucket.presign_get(key).await?),
            AudioLocation::Address(address) => Ok(address.clone()),
        }
    }

    pub(crate) async fn check_listener(&self, user_id: i64) -> Result<(), VerificationError> {
        if self.parts.profile.is_listener(user_id).await? {
            Ok(())
        } else {
            Err(VerificationError::NotAListener)
        }
    }
}
