//! Verification's operations: how samples come in ([`submit`]), what admins decide ([`review`]), and
//! here what both are shown.

pub mod review;
pub mod submit;

use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::db::Database;
use talktime_kit::messaging::Relay;

use crate::domain::{Audio, Sample, Standing, VerificationError};
use crate::objects::Bucket;
use crate::peers::Profile;
use crate::probe::Prober;
use crate::spool::Spool;
use crate::store::listener_verifications::{self, Counts};
use crate::store::standings::{self, Known};

/// Standings that one request may ask for.
const STANDINGS_MAX: usize = 500;

/// What the operations are made of.
#[derive(Clone)]
pub struct Parts {
    /// The app role's pool.
    pub db: Database,
    /// Woken when there are events.
    pub relay: Relay,
    /// The time.
    pub clock: Clock,
    /// Where samples are kept.
    pub bucket: Bucket,
    /// Knows who is a listener, and names.
    pub profile: Profile,
    /// Where samples lie while they are judged.
    pub spool: Spool,
    /// Judges them.
    pub prober: Prober,
}

/// Verification's operations; cheap to clone.
#[derive(Clone)]
pub struct Verifications {
    parts: Parts,
    allowed_hosts: Vec<String>,
    ticket_lasts: Duration,
}

impl Verifications {
    /// On these parts. `allowed_hosts` are exact names; tickets are good for `ticket_lasts`.
    pub fn new(parts: Parts, allowed_hosts: &[String], ticket_lasts: Duration) -> Self {
        let lower = |host: &String| host.to_ascii_lowercase();
        Self {
            parts,
            allowed_hosts: allowed_hosts.iter().map(lower).collect(),
            ticket_lasts,
        }
    }

    /// Where a listener stands; refused for anyone else (contract, section 8).
    pub async fn standing(&self, user_id: i64) -> Result<Standing, VerificationError> {
        self.check_listener(user_id).await?;
        let mut connection = self.parts.db.acquire().await?;
        Ok(listener_verifications::standing(&mut connection, user_id).await?)
    }

    /// The standings of many, for whoever keeps a copy.
    pub async fn standings(&self, user_ids: &[i64]) -> Result<Vec<Known>, VerificationError> {
        if user_ids.len() > STANDINGS_MAX {
            return Err(VerificationError::TooManyUsers);
        }
        let mut connection = self.parts.db.acquire().await?;
        Ok(standings::of_many(&mut connection, user_ids).await?)
    }

    /// What a listener has sent, the newest first, and the counts of all of it.
    pub async fn history(&self, user_id: i64) -> Result<(Vec<Sample>, Counts), VerificationError> {
        self.check_listener(user_id).await?;
        let mut connection = self.parts.db.acquire().await?;
        Ok(listener_verifications::history(&mut connection, user_id).await?)
    }

    /// An address to listen to a sample: the bucket is private.
    pub async fn address_of(&self, audio: &Audio) -> Result<String, VerificationError> {
        match audio {
            Audio::Object(key) => Ok(self.parts.bucket.presigned_get(key).await?),
            Audio::Address(address) => Ok(address.clone()),
        }
    }

    async fn check_listener(&self, user_id: i64) -> Result<(), VerificationError> {
        if self.parts.profile.is_listener(user_id).await? {
            Ok(())
        } else {
            Err(VerificationError::NotAListener)
        }
    }
}
