//! Records of logins and ended accounts in Postgres.
//!
//! A login first stores its session in Redis and then, in one transaction, checks that the account has not
//! ended and uses up what it was made with. A deletion commits the end of the account first and then ends
//! the sessions in Redis. So whichever of the two comes second sees the other: no session outlives its
//! account.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use talktime_kit::db::{DatabaseTransaction, PgConnection};
use talktime_kit::{Error, grpc};
use uuid::Uuid;

use crate::domain::claims::TokenLifetimes;
use crate::domain::{AuthError, TokenRevocation};
use crate::events::{SessionEventRecorder, append_revocation};
use crate::login_batch::{ANSWER_TIME_MIN, LoginRecordOutcome, LoginRecordTask, NewLoginRecord};
use crate::store::audit_log::{self, AuditAction, AuditLogEntry};
use crate::store::registrations::{self, UsedRegistrationToken};
use crate::store::{deleted_users, used_codes};

impl SessionEventRecorder {
    /// Records a login and uses up what it was made with. Fails with
    /// [`AuthError::AccountDeletionInProgress`] once the account has ended, and with
    /// [`AuthError::LoginUnconfirmed`] when it may have been recorded all the same.
    pub async fn record_login(
        &self,
        login: NewLoginRecord,
        at: DateTime<Utc>,
    ) -> Result<LoginRecordOutcome, AuthError> {
        let answer_by = grpc::time_left().map(|left| Instant::now() + left);
        let task = LoginRecordTask {
            login,
            at,
            answer_by,
        };
        let outcome = self.logins.submit(task).await??;
        if outcome != LoginRecordOutcome::ProofUsed && !has_time_left(Duration::ZERO) {
            return Err(AuthError::LoginUnconfirmed);
        }
        Ok(outcome)
    }

    /// Uses up a code that opens no session, since its phone is new; returns false if it was used before.
    pub async fn record_code_use(&self, code_id: Uuid) -> Result<bool, AuthError> {
        let mut tx = self.db.begin().await?;
        if !used_codes::insert(&mut tx, code_id).await? {
            return Ok(false);
        }
        commit_in_time(tx).await?;
        Ok(true)
    }

    /// Finds the use of a registration token; `None` while it is unused.
    pub async fn find_registration(
        &self,
        registration_id: Uuid,
    ) -> Result<Option<UsedRegistrationToken>, Error> {
        let mut connection = self.db.acquire().await?;
        Ok(registrations::find(&mut connection, registration_id).await?)
    }

    /// Whether the account of a user has ended.
    pub async fn is_account_deleted(&self, user_id: i64) -> Result<bool, Error> {
        let mut connection = self.db.acquire().await?;
        Ok(deleted_users::exists(&mut connection, user_id).await?)
    }

    /// Ends an account for good; returns the revocation of its tokens. May be repeated.
    pub async fn end_account(
        &self,
        user_id: i64,
        at: DateTime<Utc>,
        lifetimes: &TokenLifetimes,
    ) -> Result<TokenRevocation, Error> {
        let mut tx = self.db.begin().await?;
        let revocation = end_account(&mut tx, user_id, at, lifetimes).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(revocation)
    }
}

/// Ends an account within a transaction; returns the revocation of its tokens.
pub(crate) async fn end_account(
    tx: &mut PgConnection,
    user_id: i64,
    at: DateTime<Utc>,
    lifetimes: &TokenLifetimes,
) -> sqlx::Result<TokenRevocation> {
    let revocation = TokenRevocation::for_ended_account(user_id, at, lifetimes);
    deleted_users::lock_exclusive(tx, user_id).await?;
    if deleted_users::insert(tx, user_id).await? {
        registrations::delete_by_user(tx, user_id).await?;
        audit_log::record(
            tx,
            AuditLogEntry::new(AuditAction::UserDeleted, at).with_user(user_id),
        )
        .await?;
        append_revocation(tx, at, revocation.clone()).await?;
    }
    Ok(revocation)
}

/// Commits the use of a code, unless its answer would come too late for the client.
async fn commit_in_time(tx: DatabaseTransaction) -> Result<(), AuthError> {
    if !has_time_left(ANSWER_TIME_MIN) {
        return Err(AuthError::OutOfTime);
    }
    if let Err(error) = tx.commit().await {
        tracing::warn!(%error, "failed to commit the use of a code; the client may repeat the login");
        return Err(AuthError::LoginUnconfirmed);
    }
    if !has_time_left(Duration::ZERO) {
        return Err(AuthError::LoginUnconfirmed);
    }
    Ok(())
}

fn has_time_left(needed: Duration) -> bool {
    grpc::time_left().is_none_or(|left| left > needed)
}
