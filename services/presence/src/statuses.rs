//! What requests do with statuses, each in a transaction.

use std::collections::{BTreeMap, BTreeSet};

use talktime_kit::db::Database;
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, failpoint};

use crate::changes::{Told, change, change_all, change_known};
use crate::domain::{
    Change, PresenceError, Session, Settings, SignOfLife, UserStatus, check_limit, rounds,
};
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

    /// A person's own word. Refused when the session that it comes from has ended.
    pub async fn update(
        &self,
        user_id: i64,
        settings: Settings,
        session_id: &str,
    ) -> Result<UserStatus, PresenceError> {
        let mut tx = self.db.begin().await?;
        let change_of_settings = Change::Settings(settings);
        let now = self.clock.now();
        let mut changed = change(&mut tx, &[user_id], &change_of_settings, now).await?;
        let (status, _) = changed.pop().ok_or(PresenceError::UserNotFound)?;
        if status.has_ended(session_id) {
            return Err(PresenceError::SessionEnded);
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(status)
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
    pub async fn revive(&self, signs: Vec<SignOfLife>) -> Result<Revival, PresenceError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let mut alive = BTreeMap::new();
        let mut others = BTreeSet::new();
        let mut events = Vec::new();
        for round in rounds(signs) {
            others.extend(round.iter().map(|sign| sign.user_id));
            for status in user_status::revive(&mut tx, &round, now).await? {
                if status.came_online {
                    let event = sign_of_life(&status, true);
                    events.push((status.user_id, status.version, event));
                }
                alive.insert(status.user_id, status);
            }
        }
        others.retain(|user_id| !alive.contains_key(user_id));
        let others: Vec<i64> = others.into_iter().collect();
        let overtaken = match others.as_slice() {
            [] => Vec::new(),
            others => user_status::known_among(&mut tx, others).await?,
        };
        let is_told = !events.is_empty();
        outbox::append_all(&mut tx, now, events).await?;
        tx.commit().await?;
        if is_told {
            self.relay.wake();
        }
        let alive = alive.into_values().collect();
        Ok(Revival { alive, overtaken })
    }
}

/// What signs of life came to.
#[derive(Debug)]
pub struct Revival {
    /// Users whose sign of life counts.
    pub alive: Vec<Alive>,
    /// Users whose session had ended, or who had gone offline, since they gave it.
    pub overtaken: Vec<i64>,
}
