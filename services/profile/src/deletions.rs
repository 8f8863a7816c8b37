//! Deletions of accounts, in steps of which each may happen twice.
//!
//! The request is written first. Then auth ends the account: no gateway accepts its tokens any more, and
//! none are issued, before any row goes. A deletion that stops half-way, because auth is away or this
//! process dies, is finished by the sweep of some replica.

use std::time::{Duration, Instant};

use talktime_kit::db::Database;
use talktime_kit::error::chain;
use talktime_kit::grpc::client::{PeerChannel, retry_idempotent};
use talktime_kit::{Error, failpoint, grpc};
use talktime_proto::auth::v1::EndAccountRequest;
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use tokio_util::sync::CancellationToken;

use crate::domain::ProfileError;
use crate::people::People;
use crate::store::pending_deletions;

const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// Deletions that one sweep finishes, one after the other.
const BATCH_MAX: i64 = 10;
/// How long the sweep tries to finish one deletion; auth alone takes a second.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Deletes accounts; cheap to clone.
#[derive(Clone)]
pub struct Deletions {
    db: Database,
    people: People,
    auth: AuthServiceClient<PeerChannel>,
}

impl Deletions {
    /// Deletes people from a migrated database, once auth has ended their accounts.
    pub fn new(db: Database, people: People, auth: AuthServiceClient<PeerChannel>) -> Self {
        Self { db, people, auth }
    }

    /// Deletes a user. After an error other than [`ProfileError::UserNotFound`] the deletion may have been
    /// requested: then the sweep finishes it.
    pub async fn delete(&self, user_id: i64) -> Result<(), ProfileError> {
        self.request(user_id).await?;
        failpoint::reach("profile.deletion.requested");
        self.finish(user_id).await
    }

    async fn request(&self, user_id: i64) -> Result<(), ProfileError> {
        let mut tx = self.db.begin().await?;
        if !pending_deletions::insert(&mut tx, user_id).await? {
            return Err(ProfileError::UserNotFound);
        }
        tx.commit().await?;
        Ok(())
    }

    async fn finish(&self, user_id: i64) -> Result<(), ProfileError> {
        self.end_account(user_id).await?;
        failpoint::reach("profile.deletion.account_ended");
        match self.people.delete(user_id).await {
            // Another replica was faster.
            Err(ProfileError::UserNotFound) => Ok(()),
            deleted => deleted,
        }
    }

    /// Answers when no gateway accepts a token of the user any more.
    async fn end_account(&self, user_id: i64) -> Result<(), Error> {
        retry_idempotent(|| {
            let mut auth = self.auth.clone();
            async move { auth.end_account(EndAccountRequest { user_id }).await }
        })
        .await?;
        Ok(())
    }

    /// Finishes deletions that nobody works on, until told to stop.
    pub async fn run(self, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SWEEP_EVERY) => {}
                () = stopping.cancelled() => return,
            }
            if let Err(error) = self.sweep().await {
                tracing::warn!(
                    error = chain(&error),
                    "failed to look for unfinished deletions; the next sweep will"
                );
            }
        }
    }

    /// Tries each once: one that fails does not hold up the others.
    async fn sweep(&self) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let due = pending_deletions::claim(&mut tx, BATCH_MAX).await?;
        tx.commit().await?;
        for user_id in due {
            let deadline = Instant::now() + ATTEMPT_TIMEOUT;
            match grpc::with_deadline(deadline, self.finish(user_id)).await {
                Ok(()) => tracing::info!(user_id, "finished a deletion that had stopped half-way"),
                Err(error) => tracing::warn!(
                    user_id,
                    error = chain(&Error::from(error)),
                    "failed to finish a deletion; the next sweep will retry"
                ),
            }
        }
        Ok(())
    }
}
