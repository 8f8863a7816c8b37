//! One change, one transaction: look, lock, decide, keep, tell.
//!
//! Requests and events tell of the same things and meet in [`change`]. Whoever comes second finds
//! nothing to do, and finds it without a lock: a consumer that holds locks for a whole batch of
//! events would else stand in the way of requests.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, failpoint};

use crate::domain::{Change, Effect, PresenceError, Session, Settings, UserStatus};
use crate::events::status_changed;
use crate::store::user_status::Alive;
use crate::store::{deleted_users, user_status};

/// Presence's operations on its own database.
#[derive(Clone)]
pub struct Statuses {
    db: PgPool,
    relay: Relay,
    clock: Clock,
}

impl Statuses {
    /// Operations on a migrated database; `relay` is woken when there are events.
    pub fn new(db: PgPool, relay: Relay, clock: Clock) -> Self {
        Self { db, relay, clock }
    }

    /// A person's status.
    pub async fn of(&self, user_id: i64) -> Result<UserStatus, PresenceError> {
        let mut found = self.of_many(&[user_id]).await?;
        found.pop().ok_or(PresenceError::UserNotFound)
    }

    /// The statuses of many, in the order of their ids; unknown ids are left out.
    pub async fn of_many(&self, user_ids: &[i64]) -> Result<Vec<UserStatus>, PresenceError> {
        let mut connection = self.db.acquire().await?;
        Ok(user_status::find(&mut connection, user_ids).await?)
    }

    /// A person's own word.
    pub async fn update(
        &self,
        user_id: i64,
        settings: Settings,
    ) -> Result<UserStatus, PresenceError> {
        self.change_one(user_id, &Change::Settings(settings)).await
    }

    /// A login or logout; answers what holds now, which may be a later one.
    pub async fn log_in_or_out(
        &self,
        user_id: i64,
        session: Session,
    ) -> Result<UserStatus, PresenceError> {
        self.change_one(user_id, &Change::Session(session)).await
    }

    async fn change_one(&self, user_id: i64, what: &Change) -> Result<UserStatus, PresenceError> {
        let mut tx = self.db.begin().await?;
        let mut changed = change(&mut tx, &[user_id], what, self.clock.now()).await?;
        tx.commit().await?;
        self.relay.wake();
        changed.pop().ok_or(PresenceError::UserNotFound)
    }

    /// The parties are busy with a call, unless it is over already.
    pub async fn begin_call(
        &self,
        call_id: i64,
        parties: &[i64],
        wait_time: i32,
    ) -> Result<(), PresenceError> {
        let began = Change::CallBegan { call_id, wait_time };
        let mut tx = self.db.begin().await?;
        change(&mut tx, parties, &began, self.clock.now()).await?;
        failpoint::reach("presence.begin_call.before_commit");
        tx.commit().await?;
        failpoint::reach("presence.begin_call.committed");
        self.relay.wake();
        Ok(())
    }

    /// The parties are free again, unless a later call has begun.
    pub async fn end_call(&self, call_id: i64, parties: &[i64]) -> Result<(), PresenceError> {
        let mut tx = self.db.begin().await?;
        let ended = Change::CallEnded { call_id };
        change(&mut tx, parties, &ended, self.clock.now()).await?;
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Signs of life of a whole group. Unknown ids are left out of the answer.
    pub async fn revive(&self, user_ids: &[i64]) -> Result<Vec<UserStatus>, PresenceError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let alive = user_status::revive(&mut tx, user_ids, now).await?;
        let came_online = alive.iter().filter(|alive| alive.came_online);
        tell(&mut tx, came_online.map(|alive| &alive.status), now).await?;
        tx.commit().await?;
        if alive.iter().any(|alive| alive.came_online) {
            self.relay.wake();
        }
        Ok(alive
            .into_iter()
            .map(|Alive { status, .. }| status)
            .collect())
    }
}

/// Makes one change to the status of each of these, and writes an event for those whose status
/// looks different after it. Answers the statuses after the change, in the order of user ids;
/// those who are gone, or unknown to a change that makes nobody, are left out.
pub async fn change(
    tx: &mut PgConnection,
    user_ids: &[i64],
    what: &Change,
    now: DateTime<Utc>,
) -> Result<Vec<UserStatus>, PresenceError> {
    let known = user_status::find(tx, user_ids).await?;
    let someone_is_missing = known.len() < user_ids.len();
    if someone_is_missing && what.makes_users() {
        deleted_users::take_turns(tx, user_ids).await?;
        user_status::insert_missing(tx, user_ids, now).await?;
    } else if is_old_news(&known, what, now) {
        return Ok(known);
    }
    let mut statuses = user_status::lock(tx, user_ids).await?;
    let mut seen = Vec::new();
    for status in &mut statuses {
        let effect = status.apply(what, now);
        if effect != Effect::Nothing {
            user_status::save(tx, status).await?;
        }
        if effect == Effect::Seen {
            seen.push(&*status);
        }
    }
    tell(tx, seen.into_iter(), now).await?;
    Ok(statuses)
}

fn is_old_news(known: &[UserStatus], what: &Change, now: DateTime<Utc>) -> bool {
    known
        .iter()
        .all(|status| status.clone().apply(what, now) == Effect::Nothing)
}

async fn tell(
    tx: &mut PgConnection,
    changed: impl Iterator<Item = &UserStatus>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let events: Vec<_> = changed
        .map(|status| (status.user_id, status.version, status_changed(status)))
        .collect();
    if events.is_empty() {
        return Ok(());
    }
    outbox::append_all(tx, now, events).await
}

/// Drops a person's status for good.
pub async fn forget(
    tx: &mut PgConnection,
    user_id: i64,
    now: DateTime<Utc>,
) -> Result<(), PresenceError> {
    deleted_users::take_turns(tx, &[user_id]).await?;
    deleted_users::insert(tx, user_id, now).await?;
    user_status::delete(tx, user_id).await?;
    Ok(())
}
