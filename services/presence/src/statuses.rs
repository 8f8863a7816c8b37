//! What requests do with statuses, each in a transaction.

use talktime_kit::db::Database;
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, failpoint};

use crate::changes::{Told, change, change_all, change_known};
use crate::domain::{Change, PresenceError, Session, Settings, UserStatus, check_limit};
use crate::events::sign_of_life;
use crate::store::user_status::{self, Alive};

/// Presence's operations on its own database.
#[derive(Clone)]
pub struct Statuses {
    db: Database,
    relay: Relay,
    clock: Clock,
}

impl Statuses {
    /// Operations on a migrated database; `relay` is woken when there are events.
    pub fn new(db: Database, relay: Relay, clock: Clock) -> Self {
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

    /// Who is online, those whose status changed last first; and whether there are more.
    pub async fn online(
        &self,
        listeners_only: bool,
        limit: i32,
    ) -> Result<(Vec<UserStatus>, bool), PresenceError> {
        let limit = check_limit(limit)?;
        let mut connection = self.db.acquire().await?;
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
        let mut online = user_status::online(&mut connection, listeners_only, one_more).await?;
        let has_more = online.len() > limit;
        online.truncate(limit);
        Ok((online, has_more))
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
        let (status, _) = changed.pop().ok_or(PresenceError::UserNotFound)?;
        Ok(status)
    }

    /// The beginnings and ends of many calls: parties are busy with one unless it is over already, and
    /// free again unless a later one has begun.
    pub(crate) async fn follow_calls(&self, told: &[Told]) -> Result<(), PresenceError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if !change_known(&mut tx, told, now).await? {
            tx.rollback().await?;
            tx = self.db.begin().await?;
            change_all(&mut tx, told, now).await?;
        }
        failpoint::reach("presence.call.before_commit");
        tx.commit().await?;
        failpoint::reach("presence.call.committed");
        self.relay.wake();
        Ok(())
    }

    /// Signs of life of a whole group. Unknown ids are left out of the answer.
    pub async fn revive(&self, user_ids: &[i64]) -> Result<Vec<Alive>, PresenceError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let alive = user_status::revive(&mut tx, user_ids, now).await?;
        let came_online = alive.iter().filter(|alive| alive.came_online);
        let events: Vec<_> = came_online
            .map(|alive| (alive.user_id, alive.version, sign_of_life(alive, true)))
            .collect();
        let is_told = !events.is_empty();
        outbox::append_all(&mut tx, now, events).await?;
        tx.commit().await?;
        if is_told {
            self.relay.wake();
        }
        Ok(alive)
    }
}
