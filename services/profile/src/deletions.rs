//! Deletions of accounts, in steps of which each may happen twice.
//!
//! The request is written first. Then auth ends the account: no gateway accepts its tokens any more, and
//! none are issued, before any row goes. A deletion that stops half-way, because auth is unavailable or this
//! process dies, is finished by the sweep of some replica.

use std::time::Duration;

use futures::FutureExt;
use talktime_kit::db::DatabasePool;
use talktime_kit::error::chain;
use talktime_kit::{Error, failpoint, grpc};

use crate::domain::ProfileError;
use crate::peers::{AuthClient, CallsClient};
use crate::store::pending_deletions;
use crate::users::UserService;

/// The most deletions that one sweep finishes, one after the other.
const BATCH_MAX: i64 = 10;
/// The time that the sweep spends on one deletion; auth alone takes a second.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Deletes accounts; cheap to clone.
#[derive(Clone)]
pub struct AccountDeletionService {
    db: DatabasePool,
    users: UserService,
    auth: AuthClient,
    calls: CallsClient,
}

impl AccountDeletionService {
    pub fn new(db: DatabasePool, users: UserService, auth: AuthClient, calls: CallsClient) -> Self {
        Self {
            db,
            users,
            auth,
            calls,
        }
    }

    /// Deletes a user who is not on a call. After an error other than [`ProfileError::UserNotFound`] and
    /// [`ProfileError::OnACall`] the deletion may have been requested: then the sweep finishes it.
    pub async fn delete_user(
        &self,
        user_id: i64,
        reason: Option<&str>,
    ) -> Result<(), ProfileError> {
        self.prevent_calls(user_id).await?;
        self.request_deletion(user_id, reason).await?;
        failpoint::reach("profile.deletion.requested");
        self.finish_deletion(user_id).await
    }

    /// Refuses while the user is on a call, and otherwise makes calls refuse new ones: a start that was checked
    /// here before the deletion must not go live after it. Calls forgets this twenty seconds later unless the
    /// user is deleted, so that it must be the last step before the deletion.
    async fn prevent_calls(&self, user_id: i64) -> Result<(), ProfileError> {
        if self.calls.prepare_deletion(user_id).await? {
            return Err(ProfileError::OnACall);
        }
        Ok(())
    }

    async fn request_deletion(
        &self,
        user_id: i64,
        reason: Option<&str>,
    ) -> Result<(), ProfileError> {
        let mut tx = self.db.begin().await?;
        if !pending_deletions::insert(&mut tx, user_id, reason).await? {
            return Err(ProfileError::UserNotFound);
        }
        tx.commit().await?;
        Ok(())
    }

    async fn finish_deletion(&self, user_id: i64) -> Result<(), ProfileError> {
        self.auth.end_account(user_id).await?;
        failpoint::reach("profile.deletion.account_ended");
        match self.users.delete_user(user_id).await {
            // Another replica was faster.
            Err(ProfileError::UserNotFound) => Ok(()),
            deleted => deleted,
        }
    }

    /// Tries to finish each deletion that no request or replica works on. One that fails does not delay the
    /// others. Returns whether any deletion has not finished, whoever works on it.
    pub async fn finish_pending(&self) -> Result<bool, Error> {
        let exist = self.db.poll(|db| pending_deletions::exist(db).boxed());
        if !exist.await? {
            return Ok(false);
        }
        let mut tx = self.db.begin().await?;
        let due = pending_deletions::claim_due(&mut tx, BATCH_MAX).await?;
        tx.commit().await?;
        for user_id in due {
            match grpc::run_within(ATTEMPT_TIMEOUT, self.finish_deletion(user_id)).await {
                Ok(()) => tracing::info!(user_id, "finished a deletion that had stopped half-way"),
                Err(error) => tracing::warn!(
                    user_id,
                    error = chain(&Error::from(error)),
                    "failed to finish a deletion; the next sweep will retry"
                ),
            }
        }
        Ok(true)
    }
}
