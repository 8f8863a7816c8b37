//! Records of logins and ended accounts in Postgres.
//!
//! A login first stores its session in Redis and then, in one transaction, checks that the account has not
//! ended and uses up what it was made with. A deletion commits the end of the account first and then ends
//! the sessions in Redis. So whichever of the two comes second sees the other: no session outlives its
//! account.

use std::time::Duration;

use chrono::{DateTime, Utc};
use talktime_kit::db::{DatabaseTransaction, PgConnection};
use talktime_kit::messaging::outbox;
use talktime_kit::{Error, grpc};
use talktime_proto::events::v1::LoggedIn;
use talktime_proto::events::v1::event::Kind;
use uuid::Uuid;

use crate::domain::claims::{TokenLifetimes, UserSession};
use crate::domain::{AuthError, LoginProof, TokenRevocation};
use crate::events::{SessionEventRecorder, append_revocation};
use crate::store::audit_log::{self, AuditAction, AuditLogEntry};
use crate::store::registrations::{self, UsedRegistrationToken};
use crate::store::sessions::TokenIdPair;
use crate::store::{deleted_users, used_codes};

/// Time that must be left at the commit, because presence and Redis may each take a part of it afterwards.
/// Otherwise the answer might not reach the client, so the proof of the login is not used up.
const ANSWER_TIME_MIN: Duration = Duration::from_secs(1);

/// A login whose session is stored in Redis.
pub struct NewLoginRecord {
    /// The session that it opens.
    pub session: UserSession,
    /// The first pair of tokens of the session.
    pub pair: TokenIdPair,
    /// The user's name, for the event.
    pub username: String,
    /// The proof that it was made with.
    pub proof: LoginProof,
}

/// The result of recording a login.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LoginRecordOutcome {
    /// The login is recorded.
    Recorded,
    /// The proof was used before.
    ProofUsed,
}

impl SessionEventRecorder {
    /// Records a login and uses up what it was made with. Fails with
    /// [`AuthError::AccountDeletionInProgress`] once the account has ended, and with
    /// [`AuthError::LoginUnconfirmed`] when it may have been recorded all the same.
    pub async fn record_login(
        &self,
        login: NewLoginRecord,
        at: DateTime<Utc>,
    ) -> Result<LoginRecordOutcome, AuthError> {
        let (session, user_id) = (login.session, login.session.user_id);
        let mut tx = self.db.begin().await?;
        deleted_users::lock_shared(&mut tx, user_id).await?;
        if deleted_users::exists(&mut tx, user_id).await? {
            return Err(AuthError::AccountDeletionInProgress);
        }
        if !use_proof(&mut tx, &login).await? {
            return Ok(LoginRecordOutcome::ProofUsed);
        }
        let username = login.username;
        let event = Kind::LoggedIn(LoggedIn { user_id, username });
        let entry = AuditLogEntry::new(AuditAction::LoggedIn, at).with_session(session);
        audit_log::record(&mut tx, entry).await?;
        outbox::append(&mut tx, user_id, at.timestamp_micros(), at, event).await?;
        commit_in_time(tx).await?;
        self.relay.wake();
        Ok(LoginRecordOutcome::Recorded)
    }

    /// Uses up a code that opens no session, since its phone is new.
    pub async fn record_code_use(&self, code_id: Uuid) -> Result<LoginRecordOutcome, AuthError> {
        let mut tx = self.db.begin().await?;
        if !used_codes::insert(&mut tx, code_id).await? {
            return Ok(LoginRecordOutcome::ProofUsed);
        }
        commit_in_time(tx).await?;
        Ok(LoginRecordOutcome::Recorded)
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

/// Uses up the proof of a login; returns false if it was used before.
async fn use_proof(tx: &mut PgConnection, login: &NewLoginRecord) -> sqlx::Result<bool> {
    match &login.proof {
        LoginProof::Code { code_id } => used_codes::insert(tx, *code_id).await,
        LoginProof::Registration {
            registration_id,
            content_hash,
        } => {
            let used = UsedRegistrationToken {
                registration_id: *registration_id,
                content_hash: content_hash.clone(),
                session: login.session,
                pair: login.pair,
            };
            registrations::insert(tx, &used).await
        }
    }
}

/// Commits the record of a login, unless its answer would come too late for the client.
async fn commit_in_time(tx: DatabaseTransaction) -> Result<(), AuthError> {
    if !has_time_left(ANSWER_TIME_MIN) {
        return Err(AuthError::OutOfTime);
    }
    if let Err(error) = tx.commit().await {
        tracing::warn!(%error, "failed to commit a login; the client may repeat it");
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
