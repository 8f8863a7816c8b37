//! Sessions: opened by a login, carried on by refreshes, ended by a logout.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use talktime_kit::Clock;
use talktime_kit::redis::Pool;
use talktime_proto::profile::v1::User;
use uuid::Uuid;

use crate::audit::Refusals;
use crate::domain::claims::{Claims, Grant, Session};
use crate::domain::{AuthError, Device, Revocation};
use crate::events::Journal;
use crate::peers::Presence;
use crate::store;
use crate::store::audit_log::{Action, Entry};
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
    /// Opens a session for a user who has just shown who they are, and has them online.
    ///
    /// The session is stored before the event is written: should the latter fail, what stays is a
    /// token that nobody holds, not a user online who could not log in.
    pub async fn open(&self, user: User, device: &Device) -> Result<Tokens, AuthError> {
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
        self.journal
            .logged_in(session, user.username.clone(), now)
            .await?;
        self.presence
            .set_online(user.user_id, user.username, true, now)
            .await;
        Ok(tokens)
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
            Rotation::Unknown => {
                let entry = Entry::new(Action::RefreshRefused, now).of_session(session);
                self.refusals.note(entry);
                Err(AuthError::InvalidRefreshToken)
            }
            Rotation::Reused { ended } => {
                self.end_stolen(session, ended, now).await?;
                Err(AuthError::InvalidRefreshToken)
            }
        }
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
        self.journal.revoked(entry, now, revocation).await?;
        Ok(())
    }

    /// Ends every session of a user, revokes the access token that asked, and has them offline.
    ///
    /// The event is written first: should Redis fail then, the access token still holds and the
    /// client can ask again.
    pub async fn log_out(
        &self,
        user_id: i64,
        access_jti: Uuid,
        access_expires_at: Option<DateTime<Utc>>,
    ) -> Result<(), AuthError> {
        let now = self.clock.now();
        let latest = now + self.issuer.lifetimes().access();
        let expires_at = access_expires_at.map_or(latest, |expires_at| expires_at.min(latest));
        let revocation = Revocation::of_token(user_id, access_jti, expires_at);
        let entry = Entry::new(Action::LoggedOut, now).of_user(user_id);
        self.journal.logged_out(entry, now, revocation).await?;
        store::sessions::log_out(&self.redis, user_id, access_jti, expires_at - now).await?;
        self.set_offline(user_id, now).await;
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
        let revocation = self.revocation_of(user_id, vec![session_id], now);
        let entry = Entry::new(Action::SessionEnded, now).of_session(session);
        if is_last {
            self.journal.logged_out(entry, now, revocation).await?;
        } else {
            self.journal.revoked(entry, now, revocation).await?;
        }
        let lifetime_secs = self.issuer.lifetimes().access_secs;
        store::sessions::end(&self.redis, session, lifetime_secs).await?;
        if is_last {
            self.set_offline(user_id, now).await;
        }
        Ok(())
    }

    /// Ends every session of a user with all their tokens, and has them offline. The event is
    /// written first, as in [`Sessions::log_out`].
    pub async fn log_out_everywhere(&self, session: Session) -> Result<(), AuthError> {
        let (now, user_id) = (self.clock.now(), session.user_id);
        let mut open = self.open_ids(user_id).await?;
        // A session that logged out before may still ask.
        open.push(session.session_id.to_string());
        let revocation = self.revocation_of(user_id, open, now);
        let entry = Entry::new(Action::LoggedOutEverywhere, now).of_user(user_id);
        self.journal.logged_out(entry, now, revocation).await?;
        let lifetime_secs = self.issuer.lifetimes().access_secs;
        store::sessions::end_all(&self.redis, session, lifetime_secs).await?;
        self.set_offline(user_id, now).await;
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

    async fn set_offline(&self, user_id: i64, now: DateTime<Utc>) {
        self.presence
            .set_online(user_id, String::new(), false, now)
            .await;
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
        let expires_at = now + self.issuer.lifetimes().access();
        Revocation::of_sessions(user_id, session_ids, expires_at)
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
