//! Sessions: opened by a login, carried on by refreshes, ended by a logout.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use talktime_kit::redis::Pool;
use talktime_kit::{Clock, failpoint};
use talktime_proto::auth::REVOCATIONS_HOLD;
use talktime_proto::profile::v1::User;
use uuid::Uuid;

use crate::audit::Refusals;
use crate::domain::claims::{Claims, Grant, Session};
use crate::domain::{AuthError, Device, LoginProof, Revocation};
use crate::events::Journal;
use crate::login_records::{LoginOutcome, NewLogin};
use crate::peers::Presence;
use crate::store;
use crate::store::audit_log::{Action, Entry};
use crate::store::registrations::UsedRegistration;
use crate::store::revocations::Page;
use crate::store::sessions::{OpenSession, Pair, Rotation};
use crate::tokens::Issuer;

/// The use cases of a session.
#[derive(Clone)]
pub struct Sessions {
    /// Where sessions are kept.
    pub redis: Pool,
    /// What signs their tokens.
    pub issuer: Arc<Issuer>,
    /// What tells of logins and logouts.
    pub journal: Journal,
    /// Where it is noted who was refused.
    pub refusals: Refusals,
    /// What shows them at once.
    pub presence: Presence,
    /// The time.
    pub clock: Clock,
    /// How long a refresh token gives the same pair once more, in seconds.
    pub refresh_grace_secs: u32,
}

/// A session's pair of tokens, signed. Has no debug output, since whoever reads one has the session.
pub struct Tokens {
    /// For requests.
    pub access: String,
    /// For the next pair.
    pub refresh: String,
}

impl Sessions {
    /// Opens a session for a user who has just shown who they are, and has them online; `None` when
    /// what they showed had been used before.
    ///
    /// The session is stored before the login is recorded (see [`crate::login_records`]). One that could
    /// not be recorded is ended again, since nobody gets its tokens.
    pub async fn open(
        &self,
        user: User,
        device: &Device,
        proof: LoginProof,
    ) -> Result<Option<Tokens>, AuthError> {
        let now = self.clock.now();
        let session = Session {
            user_id: user.user_id,
            session_id: Uuid::new_v4(),
        };
        let pair = new_pair(now);
        let tokens = self.issue(session, pair)?;
        let lifetime_secs = self.issuer.lifetimes().refresh_secs;
        store::sessions::open(
            &self.redis,
            session,
            pair.refresh_jti,
            lifetime_secs,
            device,
            now,
        )
        .await?;
        // A registration that may have been recorded is answered with its first session when it is repeated.
        let may_be_repeated = matches!(proof, LoginProof::Registration { .. });
        let login = NewLogin {
            session,
            pair,
            username: user.username.clone(),
            proof,
        };
        match self.journal.record_login(login, now).await {
            Ok(LoginOutcome::Recorded) => {}
            Ok(LoginOutcome::ProofUsed) => {
                self.drop_session(session).await;
                return Ok(None);
            }
            Err(error) => {
                if !(may_be_repeated && matches!(error, AuthError::LoginUnconfirmed)) {
                    self.drop_session(session).await;
                }
                return Err(error);
            }
        }
        self.presence
            .show_login(user.user_id, user.username, now)
            .await;
        Ok(Some(tokens))
    }

    /// The first tokens of a session that a registration has opened; `None` once they were used, or the
    /// session has ended.
    pub async fn first_tokens(&self, used: &UsedRegistration) -> Result<Option<Tokens>, AuthError> {
        let (session, pair) = (used.session, used.pair);
        if self.journal.is_account_deleted(session.user_id).await?
            || !store::sessions::is_usable(&self.redis, session.user_id, pair.refresh_jti).await?
        {
            return Ok(None);
        }
        Ok(Some(self.issue(session, pair)?))
    }

    /// Ends a session whose tokens nobody has. Should that fail, it runs out unused.
    async fn drop_session(&self, session: Session) {
        let lifetime_secs = self.issuer.lifetimes().access_secs;
        if let Err(error) = store::sessions::end(&self.redis, session, lifetime_secs).await {
            tracing::warn!(
                user_id = session.user_id,
                %error,
                "failed to drop a session that was not recorded; it will expire unused"
            );
        }
    }

    /// Exchanges a refresh token for a new pair. A token that was exchanged before ends every
    /// session of its user (contract, section 2): it is in two hands. Only within the configured grace
    /// for a lost answer, and while nobody has used the new pair, it gives that pair once more.
    pub async fn refresh(&self, refresh_token: &str) -> Result<Tokens, AuthError> {
        let now = self.clock.now();
        let Some(Claims {
            jti: used_jti,
            grant: Grant::Refresh(session),
            ..
        }) = self.issuer.check(refresh_token, now)?
        else {
            return Err(AuthError::InvalidRefreshToken);
        };
        // Final although it is not locked: a deletion ends the sessions in Redis after its own commit, and
        // a session that has ended does not rotate.
        if self.journal.is_account_deleted(session.user_id).await? {
            return Err(self.refuse_refresh(session, now));
        }
        let next = new_pair(now);
        let lifetime_secs = self.issuer.lifetimes().refresh_secs;
        let grace_secs = self.refresh_grace_secs;
        let rotation = store::sessions::rotate(
            &self.redis,
            session,
            used_jti,
            next,
            lifetime_secs,
            grace_secs,
        )
        .await?;
        match rotation {
            Rotation::Rotated => self.issue(session, next),
            Rotation::Again(pair) => self.issue(session, pair),
            Rotation::Unknown => Err(self.refuse_refresh(session, now)),
            Rotation::Reused { ended } => {
                self.end_stolen(session, ended, now).await?;
                Err(AuthError::InvalidRefreshToken)
            }
        }
    }

    fn refuse_refresh(&self, session: Session, now: DateTime<Utc>) -> AuthError {
        let entry = Entry::new(Action::RefreshRefused, now).of_session(session);
        self.refusals.note(entry);
        AuthError::InvalidRefreshToken
    }

    /// Somebody holds a token that was used before: their access token dies with it.
    async fn end_stolen(
        &self,
        session: Session,
        ended: Vec<String>,
        now: DateTime<Utc>,
    ) -> Result<(), AuthError> {
        let user_id = session.user_id;
        tracing::warn!(
            user_id,
            "a refresh token was used twice; all sessions ended"
        );
        let revocation = self.revocation_of(user_id, ended, now);
        let entry = Entry::new(Action::RefreshTokenReused, now).of_session(session);
        self.journal.revoked(entry, now, revocation.clone()).await?;
        store::sessions::revoke(&self.redis, &revocation, now).await
    }

    /// Ends the session that asks, with every token of it and the refresh tokens of all other sessions of
    /// its user, and has them offline. A gateway that does not name the session yet has only the access
    /// token revoked that asked.
    ///
    /// The event is written first: should Redis fail then, the client can ask again.
    pub async fn log_out(
        &self,
        user_id: i64,
        access_jti: Uuid,
        session_id: Option<Uuid>,
    ) -> Result<(), AuthError> {
        let now = self.clock.now();
        let session_ids: Vec<String> = session_id.iter().map(Uuid::to_string).collect();
        let revocation = Revocation {
            token_ids: vec![access_jti.to_string()],
            ..self.revocation_of(user_id, session_ids.clone(), now)
        };
        let entry = Entry::new(Action::LoggedOut, now).of_user(user_id);
        let logout = self.journal.logged_out(entry, now, revocation.clone());
        logout.await?;
        store::sessions::revoke(&self.redis, &revocation, now).await?;
        self.presence.show_logout(user_id, session_ids, now).await;
        Ok(())
    }

    /// Ends an account for good: its sessions, its tokens, and the issue of any. Answers when every gateway
    /// refuses them. Each step may happen twice, so whoever gets no answer asks again.
    pub async fn end_account(&self, user_id: i64) -> Result<(), AuthError> {
        let now = self.clock.now();
        let lifetimes = self.issuer.lifetimes();
        let revocation = self.journal.end_account(user_id, now, lifetimes).await?;
        failpoint::reach("auth.account.ended");
        store::sessions::revoke(&self.redis, &revocation, now).await?;
        tokio::time::sleep(REVOCATIONS_HOLD).await;
        Ok(())
    }

    /// The open sessions of a user, last used first.
    pub async fn list(&self, user_id: i64) -> Result<Vec<OpenSession>, AuthError> {
        store::sessions::list(&self.redis, user_id).await
    }

    /// Ends one session, wherever it is; its access tokens end with it. These are revoked first, so
    /// that a client that gets no answer finds the session and can ask again. With the last one its
    /// user is offline; of two that end each other at once neither is, and presence finds that user
    /// silent.
    pub async fn end(&self, session: Session) -> Result<(), AuthError> {
        let (now, user_id) = (self.clock.now(), session.user_id);
        let session_id = session.session_id.to_string();
        let open = self.open_ids(user_id).await?;
        if !open.contains(&session_id) {
            return Err(AuthError::SessionNotFound);
        }
        let is_last = open.len() == 1;
        let revocation = self.revocation_of(user_id, vec![session_id.clone()], now);
        let entry = Entry::new(Action::SessionEnded, now).of_session(session);
        if is_last {
            self.journal.logged_out(entry, now, revocation).await?;
        } else {
            self.journal.revoked(entry, now, revocation).await?;
        }
        let lifetime_secs = self.issuer.lifetimes().access_secs;
        store::sessions::end(&self.redis, session, lifetime_secs).await?;
        if is_last {
            let ended = vec![session_id];
            self.presence.show_logout(user_id, ended, now).await;
        }
        Ok(())
    }

    /// Ends every session of a user with all their tokens, and has them offline. The event is
    /// written first, as in [`Sessions::log_out`].
    pub async fn log_out_everywhere(&self, session: Session) -> Result<(), AuthError> {
        let (now, user_id) = (self.clock.now(), session.user_id);
        // A session that logged out before may still ask.
        let mut ended = vec![session.session_id.to_string()];
        let open = self.open_ids(user_id).await?.into_iter();
        ended.extend(open.filter(|session_id| *session_id != session.session_id.to_string()));
        let revocation = self.revocation_of(user_id, ended.clone(), now);
        let entry = Entry::new(Action::LoggedOutEverywhere, now).of_user(user_id);
        self.journal.logged_out(entry, now, revocation).await?;
        let lifetime_secs = self.issuer.lifetimes().access_secs;
        store::sessions::end_all(&self.redis, session, lifetime_secs).await?;
        self.presence.show_logout(user_id, ended, now).await;
        Ok(())
    }

    /// A page of the access tokens that hold no more, though they have not expired.
    pub async fn revocations(
        &self,
        since: Option<DateTime<Utc>>,
        after_id: i64,
    ) -> Result<Page, AuthError> {
        let now = self.clock.now();
        Ok(self.journal.revocations(since, after_id, now).await?)
    }

    async fn open_ids(&self, user_id: i64) -> Result<Vec<String>, AuthError> {
        let open = self.list(user_id).await?.into_iter();
        Ok(open.map(|session| session.session_id).collect())
    }

    /// Of every access token that those sessions can have.
    fn revocation_of(
        &self,
        user_id: i64,
        session_ids: Vec<String>,
        now: DateTime<Utc>,
    ) -> Revocation {
        Revocation::of_sessions(user_id, session_ids, now, self.issuer.lifetimes())
    }

    /// Signs a pair: the same one for the same input, since Ed25519 uses no randomness.
    fn issue(&self, session: Session, pair: Pair) -> Result<Tokens, AuthError> {
        let Pair {
            refresh_jti,
            access_jti,
            issued_at,
        } = pair;
        let access = Grant::Access(session);
        let refresh = Grant::Refresh(session);
        Ok(Tokens {
            access: self.issuer.issue(access_jti, issued_at, access)?,
            refresh: self.issuer.issue(refresh_jti, issued_at, refresh)?,
        })
    }
}

fn new_pair(now: DateTime<Utc>) -> Pair {
    Pair {
        refresh_jti: Uuid::new_v4(),
        access_jti: Uuid::new_v4(),
        issued_at: now,
    }
}
