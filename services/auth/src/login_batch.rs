//! Logins that come in while a transaction commits are recorded together by the next one, each with an outcome of its own.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::messaging::Relay;
use talktime_kit::messaging::outbox::{self, OutboxColumns, TracedEvent};
use talktime_proto::events::v1::LoggedIn;
use talktime_proto::events::v1::event::Kind;

use crate::domain::claims::UserSession;
use crate::domain::{AuthError, LoginProof};
use crate::store::audit_log::{self, AuditAction, AuditLogEntry};
use crate::store::code_logins::{self, CodeLogin};
use crate::store::deleted_users;
use crate::store::registrations::{self, UsedRegistrationToken};
use crate::store::sessions::TokenIdPair;

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
        let answers = record_all(&mut tx, batch, at).await?;
        let recorded = batch.iter().zip(&answers);
        let recorded = recorded.filter(|(_, answer)| is_recorded(answer));
        let recorded: Vec<&BatchItem<LoginRecordTask>> = recorded.map(|(item, _)| *item).collect();
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

/// Holds off the deletion of the users, uses up the proofs of logins and records those whose proof was unused; returns one
/// answer for each, in order.
async fn record_all(
    tx: &mut PgConnection,
    batch: &[&BatchItem<LoginRecordTask>],
    at: DateTime<Utc>,
) -> sqlx::Result<Vec<LoginRecordAnswer>> {
    let user_ids: Vec<i64> = batch.iter().map(|item| user_id_of(item)).collect();
    deleted_users::lock_all_shared(tx, &user_ids).await?;
    let mut answers: Vec<(usize, LoginRecordAnswer)> = Vec::with_capacity(batch.len());
    answers.extend(record_code_logins(tx, batch, at).await?);
    answers.extend(record_registrations(tx, batch, at).await?);
    answers.sort_unstable_by_key(|(place, _)| *place);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

fn user_id_of(item: &BatchItem<LoginRecordTask>) -> i64 {
    item.task.login.session.user_id
}

/// Records the logins with codes; returns the answer to each, by its place in the batch.
async fn record_code_logins(
    tx: &mut PgConnection,
    batch: &[&BatchItem<LoginRecordTask>],
    at: DateTime<Utc>,
) -> sqlx::Result<Vec<(usize, LoginRecordAnswer)>> {
    let (mut places, mut logins, mut events) = (vec![], vec![], vec![]);
    for (place, item) in batch.iter().enumerate() {
        let login = &item.task.login;
        if let LoginProof::Code { code_id } = login.proof {
            places.push(place);
            logins.push(CodeLogin {
                code_id,
                session: login.session,
            });
            events.push(logged_in_event(item, at));
        }
    }
    if logins.is_empty() {
        return Ok(vec![]);
    }
    let events = OutboxColumns::encode(at, events);
    let states = code_logins::insert_all(tx, &logins, events, at).await?;
    let answers = states.into_iter().map(|state| {
        if state.is_account_deleted {
            Err(AuthError::AccountDeletionInProgress)
        } else {
            Ok(outcome_of(state.is_recorded, at))
        }
    });
    Ok(places.into_iter().zip(answers).collect())
}

fn outcome_of(is_recorded: bool, at: DateTime<Utc>) -> LoginRecordOutcome {
    if is_recorded {
        LoginRecordOutcome::Recorded { at }
    } else {
        LoginRecordOutcome::ProofUsed
    }
}

/// Records the logins of registrations, as [`record_code_logins`] does those with codes. There are few of them, so each token
/// is used up by a statement of its own. All batches do so in one order, and therefore never wait for each other in a circle.
async fn record_registrations(
    tx: &mut PgConnection,
    batch: &[&BatchItem<LoginRecordTask>],
    at: DateTime<Utc>,
) -> sqlx::Result<Vec<(usize, LoginRecordAnswer)>> {
    let registered = batch.iter().enumerate();
    let registered =
        registered.filter_map(|(place, item)| Some((place, *item, used_token(&item.task.login)?)));
    let mut registered: Vec<(usize, &BatchItem<LoginRecordTask>, UsedRegistrationToken)> =
        registered.collect();
    if registered.is_empty() {
        return Ok(vec![]);
    }
    registered.sort_by_key(|(.., token)| token.registration_id);
    let user_ids = registered.iter().map(|(_, item, _)| user_id_of(item));
    let deleted = deleted_users::find_all(tx, &user_ids.collect::<Vec<_>>()).await?;
    let mut answers = Vec::with_capacity(registered.len());
    let mut recorded = vec![];
    for (place, item, token) in registered {
        let answer = if deleted.contains(&user_id_of(item)) {
            Err(AuthError::AccountDeletionInProgress)
        } else {
            Ok(outcome_of(registrations::insert(tx, &token).await?, at))
        };
        if is_recorded(&answer) {
            recorded.push(item);
        }
        answers.push((place, answer));
    }
    insert_records(tx, &recorded, at).await?;
    Ok(answers)
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
    let events = batch.iter().map(|item| logged_in_event(item, at));
    outbox::append_traced(tx, at, events.collect()).await
}

fn logged_in_event(item: &BatchItem<LoginRecordTask>, at: DateTime<Utc>) -> TracedEvent {
    let NewLoginRecord {
        session, username, ..
    } = &item.task.login;
    let (user_id, username) = (session.user_id, username.clone());
    let event = Kind::LoggedIn(LoggedIn { user_id, username });
    let event = (user_id, at.timestamp_micros(), event);
    (event, item.traceparent.clone())
}
