//! Logins that come in while a transaction commits are recorded together by the next one, each with an outcome of its own.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::messaging::{Relay, outbox};
use talktime_proto::events::v1::LoggedIn;
use talktime_proto::events::v1::event::Kind;
use uuid::Uuid;

use crate::domain::claims::UserSession;
use crate::domain::{AuthError, LoginProof};
use crate::store::audit_log::{self, AuditAction, AuditLogEntry};
use crate::store::registrations::{self, UsedRegistrationToken};
use crate::store::sessions::TokenIdPair;
use crate::store::{deleted_users, used_codes};

/// Time that must be left at the commit, because presence and Redis may each take a part of it afterwards.
/// Otherwise the answer might not reach the client, so the proof of the login is not used up.
pub(crate) const ANSWER_TIME_MIN: Duration = Duration::from_secs(1);
/// Time that must be left at the beginning of a batch, so that a login that is almost too late does not make the others fail.
const BATCH_TIME_MIN: Duration = Duration::from_millis(1_500);

/// A login whose session is stored in Redis.
#[derive(Clone)]
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
    Recorded {
        /// The instant of its event.
        at: DateTime<Utc>,
    },
    /// The proof was used before.
    ProofUsed,
}

/// A login with its time limits.
#[derive(Clone)]
pub(crate) struct LoginRecordTask {
    pub(crate) login: NewLoginRecord,
    /// The instant of the login.
    pub(crate) at: DateTime<Utc>,
    /// The instant by which the client must have the answer, if there is one.
    pub(crate) answer_by: Option<Instant>,
}

/// The answer to one login of a batch.
type LoginRecordAnswer = Result<LoginRecordOutcome, AuthError>;

/// Records one batch.
pub(crate) struct LoginBatchHandler {
    pub(crate) db: DatabasePool,
    pub(crate) relay: Relay,
}

impl LoginRecordTask {
    fn has_time_left(&self, needed: Duration) -> bool {
        let left = self
            .answer_by
            .map(|by| by.saturating_duration_since(Instant::now()));
        left.is_none_or(|left| left > needed)
    }
}

impl BatchHandler for LoginBatchHandler {
    const NAME: &'static str = "logins";
    type Task = LoginRecordTask;
    type Answer = LoginRecordAnswer;
    type Error = AuthError;

    async fn handle(
        &self,
        batch: &[BatchItem<LoginRecordTask>],
    ) -> Result<Vec<LoginRecordAnswer>, AuthError> {
        let is_in_time = batch.iter();
        let is_in_time = is_in_time.map(|item| item.task.has_time_left(BATCH_TIME_MIN));
        let is_in_time: Vec<bool> = is_in_time.collect();
        let in_time = batch.iter().zip(&is_in_time);
        let in_time = in_time.filter(|(_, is_in_time)| **is_in_time);
        let in_time: Vec<&BatchItem<LoginRecordTask>> = in_time.map(|(item, _)| item).collect();
        let mut recorded = self.record_logins(&in_time).await?.into_iter();
        let answers = is_in_time.into_iter().map(|is_in_time| {
            let answer = is_in_time.then(|| recorded.next()).flatten();
            answer.unwrap_or(Err(AuthError::OutOfTime))
        });
        Ok(answers.collect())
    }

    /// Nothing was done then, and what has failed would fail for each login alone. One that was late may not be the fault of
    /// the others.
    fn fails_whole_batch(error: &AuthError) -> bool {
        matches!(error, AuthError::Other(_))
    }

    fn worker_gone() -> AuthError {
        AuthError::LoginUnconfirmed
    }
}

impl LoginBatchHandler {
    async fn record_logins(
        &self,
        batch: &[&BatchItem<LoginRecordTask>],
    ) -> Result<Vec<LoginRecordAnswer>, AuthError> {
        let Some(at) = batch.iter().map(|item| item.task.at).max() else {
            return Ok(vec![]);
        };
        let mut tx = self.db.begin().await?;
        let answers = use_proofs(&mut tx, batch, at).await?;
        let recorded = batch.iter().zip(&answers);
        let recorded = recorded.filter(|(_, answer)| is_recorded(answer));
        let recorded: Vec<&BatchItem<LoginRecordTask>> = recorded.map(|(item, _)| *item).collect();
        insert_records(&mut tx, &recorded, at).await?;
        let has_time_left = |item: &&BatchItem<LoginRecordTask>| {
            let task = &item.task;
            task.has_time_left(ANSWER_TIME_MIN)
        };
        if !recorded.iter().all(has_time_left) {
            return Err(AuthError::OutOfTime);
        }
        if let Err(error) = tx.commit().await {
            tracing::warn!(
                %error,
                logins = recorded.len(),
                "failed to commit logins; their clients may repeat them"
            );
            return Ok(answers.into_iter().map(unconfirm_login).collect());
        }
        self.relay.wake();
        Ok(answers)
    }
}

fn is_recorded(answer: &LoginRecordAnswer) -> bool {
    matches!(answer, Ok(LoginRecordOutcome::Recorded { .. }))
}

/// The answer to a login whose commit may have failed.
fn unconfirm_login(answer: LoginRecordAnswer) -> LoginRecordAnswer {
    match answer? {
        LoginRecordOutcome::Recorded { .. } => Err(AuthError::LoginUnconfirmed),
        LoginRecordOutcome::ProofUsed => Ok(LoginRecordOutcome::ProofUsed),
    }
}

/// Holds off the deletion of the users, and uses up the proofs of logins; returns one answer for each, in order.
async fn use_proofs(
    tx: &mut PgConnection,
    batch: &[&BatchItem<LoginRecordTask>],
    at: DateTime<Utc>,
) -> Result<Vec<LoginRecordAnswer>, AuthError> {
    let user_ids = batch.iter();
    let user_ids: Vec<i64> = user_ids
        .map(|item| item.task.login.session.user_id)
        .collect();
    deleted_users::lock_all_shared(tx, &user_ids).await?;
    let deleted = deleted_users::find_all(tx, &user_ids).await?;
    let is_open = |login: &NewLoginRecord| !deleted.contains(&login.session.user_id);
    let open = batch.iter().map(|item| &item.task.login);
    let open: Vec<&NewLoginRecord> = open.filter(|login| is_open(login)).collect();
    let mut unused_codes = use_codes(tx, &open).await?;
    let unused_registrations = use_registrations(tx, &open).await?;
    let mut answers = Vec::with_capacity(batch.len());
    for item in batch {
        let login = &item.task.login;
        if !is_open(login) {
            answers.push(Err(AuthError::AccountDeletionInProgress));
            continue;
        }
        let is_unused = match &login.proof {
            LoginProof::Code { code_id } => unused_codes.remove(code_id),
            LoginProof::Registration { .. } => {
                unused_registrations.contains(&login.session.session_id)
            }
        };
        answers.push(Ok(if is_unused {
            LoginRecordOutcome::Recorded { at }
        } else {
            LoginRecordOutcome::ProofUsed
        }));
    }
    Ok(answers)
}

/// Uses up the codes of logins; returns those that were not used before.
async fn use_codes(
    tx: &mut PgConnection,
    logins: &[&NewLoginRecord],
) -> sqlx::Result<HashSet<Uuid>> {
    let codes = logins.iter().filter_map(|login| match login.proof {
        LoginProof::Code { code_id } => Some(code_id),
        LoginProof::Registration { .. } => None,
    });
    used_codes::insert_all(tx, &codes.collect::<Vec<_>>()).await
}

/// Uses up registration tokens; returns the sessions of those that were not used before. All batches do so in one order, and
/// therefore never wait for each other in a circle.
async fn use_registrations(
    tx: &mut PgConnection,
    logins: &[&NewLoginRecord],
) -> sqlx::Result<HashSet<Uuid>> {
    let mut used: Vec<UsedRegistrationToken> = logins
        .iter()
        .filter_map(|login| used_token(login))
        .collect();
    used.sort_by_key(|token| token.registration_id);
    let mut unused = HashSet::new();
    for token in used {
        if registrations::insert(tx, &token).await? {
            unused.insert(token.session.session_id);
        }
    }
    Ok(unused)
}

fn used_token(login: &NewLoginRecord) -> Option<UsedRegistrationToken> {
    match &login.proof {
        LoginProof::Code { .. } => None,
        LoginProof::Registration {
            registration_id,
            content_hash,
        } => Some(UsedRegistrationToken {
            registration_id: *registration_id,
            content_hash: content_hash.clone(),
            session: login.session,
            pair: login.pair,
        }),
    }
}

/// Inserts the lines of the audit log and the events of logins.
async fn insert_records(
    tx: &mut PgConnection,
    batch: &[&BatchItem<LoginRecordTask>],
    at: DateTime<Utc>,
) -> sqlx::Result<()> {
    let entries = batch.iter().map(|item| {
        let entry = AuditLogEntry::new(AuditAction::LoggedIn, at);
        entry.with_session(item.task.login.session)
    });
    audit_log::record_all(tx, &entries.collect::<Vec<_>>()).await?;
    let events = batch.iter().map(|item| {
        let NewLoginRecord {
            session, username, ..
        } = item.task.login.clone();
        let user_id = session.user_id;
        let event = Kind::LoggedIn(LoggedIn { user_id, username });
        let event = (user_id, at.timestamp_micros(), event);
        (event, item.traceparent.clone())
    });
    outbox::append_traced(tx, at, events.collect()).await
}
