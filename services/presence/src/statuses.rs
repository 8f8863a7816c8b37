//! One change, one transaction: look, lock, decide, keep, tell.
//!
//! Requests and events tell of the same things and meet in [`change`]. Whoever comes second finds
//! nothing to do, and finds it without a lock: a consumer that holds locks for a whole batch of
//! events would else stand in the way of requests.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, failpoint};

use crate::domain::{Change, Effect, PresenceError, Session, Settings, UserStatus, check_limit};
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
        tell(&mut tx, came_online.map(|alive| (&alive.status, true)), now).await?;
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
    let judged = judge(tx, user_ids, what, now).await?;
    Ok(judged.into_iter().map(|(status, _)| status).collect())
}

/// The same; answers what it came to for each.
pub(crate) async fn change_and_judge(
    tx: &mut PgConnection,
    user_ids: &[i64],
    what: &Change,
    now: DateTime<Utc>,
) -> Result<Vec<Effect>, PresenceError> {
    let judged = judge(tx, user_ids, what, now).await?;
    Ok(judged.into_iter().map(|(_, effect)| effect).collect())
}

async fn judge(
    tx: &mut PgConnection,
    user_ids: &[i64],
    what: &Change,
    now: DateTime<Utc>,
) -> Result<Vec<(UserStatus, Effect)>, PresenceError> {
    let known = user_status::find(tx, user_ids).await?;
    let someone_is_missing = known.len() < user_ids.len();
    if someone_is_missing && what.makes_users() {
        deleted_users::take_turns(tx, user_ids).await?;
        user_status::insert_missing(tx, user_ids, now).await?;
    } else if is_old_news(&known, what, now) {
        let unchanged = |status| (status, Effect::Nothing);
        return Ok(known.into_iter().map(unchanged).collect());
    }
    let mut judged = Vec::with_capacity(user_ids.len());
    for mut status in user_status::lock(tx, user_ids).await? {
        let effect = status.apply(what, now);
        if effect != Effect::Nothing {
            user_status::save(tx, &status).await?;
        }
        judged.push((status, effect));
    }
    let seen = judged.iter().filter_map(|(status, effect)| match effect {
        Effect::Seen { came_online } => Some((status, *came_online)),
        _ => None,
    });
    tell(tx, seen, now).await?;
    Ok(judged)
}

fn is_old_news(known: &[UserStatus], what: &Change, now: DateTime<Utc>) -> bool {
    known
        .iter()
        .all(|status| status.clone().apply(what, now) == Effect::Nothing)
}

/// Writes an event for each of these; with whether they came online.
pub(crate) async fn tell(
    tx: &mut PgConnection,
    changed: impl Iterator<Item = (&UserStatus, bool)>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let events: Vec<_> = changed
        .map(|(status, came_online)| {
            let kind = status_changed(status, came_online);
            (status.user_id, status.version, kind)
        })
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
