//! Verification's operations.

use sqlx::PgPool;

use crate::domain::{Audio, Standing, VerificationError};
use crate::objects::Bucket;
use crate::peers::Profile;
use crate::store::listener_verifications;

/// Verification's operations; cheap to clone.
#[derive(Clone)]
pub struct Verifications {
    db: PgPool,
    bucket: Bucket,
    profile: Profile,
}

impl Verifications {
    /// On these parts.
    pub fn new(db: PgPool, bucket: Bucket, profile: Profile) -> Self {
        Self {
            db,
            bucket,
            profile,
        }
    }

    /// Where a listener stands; refused for anyone else (contract, section 8).
    pub async fn standing(&self, user_id: i64) -> Result<Standing, VerificationError> {
        if !self.profile.is_listener(user_id).await? {
            return Err(VerificationError::NotAListener);
        }
        let mut connection = self.db.acquire().await?;
        Ok(listener_verifications::standing(&mut connection, user_id).await?)
    }

    /// An address to listen to a sample: the bucket is private.
    pub async fn address_of(&self, audio: &Audio) -> Result<String, VerificationError> {
        match audio {
            Audio::Object(key) => Ok(self.bucket.presigned_get(key).await?),
            Audio::Address(address) => Ok(address.clone()),
        }
    }
}
