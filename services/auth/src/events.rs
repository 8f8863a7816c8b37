//! What auth publishes, and what it hears.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{PgConnection, PgPool};
use talktime_kit::messaging::{Handler, Relay, outbox};
use talktime_kit::redis::Pool;
use talktime_kit::{Clock, Error};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, LoggedIn, LoggedOut};

use crate::domain::claims::Lifetimes;
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
        user_id: i64,
        username: String,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        let event = Kind::LoggedIn(LoggedIn { user_id, username });
        self.write(user_id, at, event).await
    }

    /// Somebody logged out.
    pub async fn logged_out(&self, user_id: i64, at: DateTime<Utc>) -> Result<(), Error> {
        self.write(user_id, at, Kind::LoggedOut(LoggedOut { user_id }))
            .await
    }

    /// The event is the whole transaction. Its version is its instant, since nothing but the
    /// instant orders the logins and logouts of a person on several replicas.
    async fn write(&self, user_id: i64, at: DateTime<Utc>, event: Kind) -> Result<(), Error> {
        let mut connection = self.db.acquire().await?;
        outbox::append(&mut connection, user_id, at.timestamp_micros(), at, event).await?;
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
