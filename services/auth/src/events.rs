//! What auth publishes, and what it hears.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use talktime_kit::messaging::{Handler, Relay, outbox};
use talktime_kit::redis::Pool;
use talktime_kit::{Clock, Error};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, LoggedIn, LoggedOut};
use uuid::Uuid;

use crate::domain::claims::{Lifetimes, Session};
use crate::store::audit_log::{self, Action};
use crate::store::sessions;

/// Tells the other services of logins and logouts.
#[derive(Clone)]
pub struct Journal {
    db: PgPool,
    relay: Relay,
}

impl Journal {
    /// A journal in the outbox of `db`; `relay` is woken when there are events.
    pub fn new(db: PgPool, relay: Relay) -> Self {
        Self { db, relay }
    }

    /// Somebody logged in.
    pub async fn logged_in(
        &self,
        session: Session,
        username: String,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        let user_id = session.user_id;
        let event = Kind::LoggedIn(LoggedIn { user_id, username });
        let session_id = Some(session.session_id);
        self.tell(user_id, session_id, Action::LoggedIn, at, event)
            .await
    }

    /// Somebody logged out; `action` says in which way.
    pub async fn logged_out(
        &self,
        user_id: i64,
        action: Action,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        let event = Kind::LoggedOut(LoggedOut { user_id });
        self.tell(user_id, None, action, at, event).await
    }

    /// Something that concerns nobody but the operator who looks for it later.
    pub async fn note(
        &self,
        session: Session,
        action: Action,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        let mut connection = self.db.acquire().await?;
        let (user_id, session_id) = (session.user_id, Some(session.session_id));
        audit_log::append(&mut connection, at, user_id, action, session_id).await?;
        Ok(())
    }

    /// The audit entry and the event are the whole transaction. The event's version is its instant,
    /// since nothing but the instant orders the logins and logouts of a person on several replicas.
    async fn tell(
        &self,
        user_id: i64,
        session_id: Option<Uuid>,
        action: Action,
        at: DateTime<Utc>,
        event: Kind,
    ) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        audit_log::append(&mut tx, at, user_id, action, session_id).await?;
        outbox::append(&mut tx, user_id, at.timestamp_micros(), at, event).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }
}

/// A login that was under way when its user was deleted has ended by then: the longest that a
/// request may take.
const LOGIN_UNDER_WAY_MAX: TimeDelta = TimeDelta::seconds(10);

/// Ends the sessions of deleted users.
pub struct ProfileEvents {
    redis: Pool,
    lifetimes: Lifetimes,
    clock: Clock,
}

impl ProfileEvents {
    /// A handler for tokens that hold for `lifetimes`.
    pub fn new(redis: Pool, lifetimes: Lifetimes, clock: Clock) -> Self {
        Self {
            redis,
            lifetimes,
            clock,
        }
    }

    /// User ids are never given again, so revoking ahead of time hits nobody else.
    async fn revoke(&self, user_id: i64) -> Result<(), Error> {
        let until = self.clock.now() + LOGIN_UNDER_WAY_MAX;
        let kept = self.lifetimes.access() + LOGIN_UNDER_WAY_MAX;
        sessions::revoke_user(&self.redis, user_id, until, kept).await?;
        Ok(())
    }
}

impl Handler for ProfileEvents {
    /// The effect is in Redis and may safely happen twice: if the transaction that remembers the
    /// event fails, it does.
    async fn handle(&self, _tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        match event.kind {
            Some(Kind::UserDeleted(user)) => self.revoke(user.user_id).await,
            _ => Ok(()),
        }
    }
}
