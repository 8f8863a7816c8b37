//! Operations of requests on statuses, each in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use talktime_kit::db::{DatabasePool, DatabaseTransaction};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, failpoint};

use crate::changes::{
    ReportedStatusChange, StatusChangeResults, apply_change, apply_changes, change_existing,
    has_events,
};
use crate::domain::{
    PresenceError, StatusChange, StatusSettingsChange, UserHeartbeat, UserStatus, check_limit,
    split_into_rounds,
};
use crate::events::heartbeat_event;
use crate::store::user_status::{self, HeartbeatStatusRow};

/// The operations of presence on its own database.
#[derive(Clone)]
pub struct StatusService {
    db: DatabasePool,
    relay: Relay,
    clock: Clock,
}

/// The users who are online, up to a limit.
#[derive(Clone, Debug)]
pub struct OnlineUserPage {
    pub statuses: Vec<UserStatus>,
    pub has_more: bool,
}

impl StatusService {
    /// Returns the operations on a migrated database. They wake `relay` after they have appended events.
    pub fn new(db: DatabasePool, relay: Relay, clock: Clock) -> Self {
        Self { db, relay, clock }
    }

    /// Finds the status of a user.
    pub async fn find_status(&self, user_id: i64) -> Result<UserStatus, PresenceError> {
        let mut found = self.find_statuses(&[user_id]).await?;
        found.pop().ok_or(PresenceError::UserNotFound)
    }

    /// Finds the statuses of several users, in the order of their ids; unknown ids are left out.
    pub async fn find_statuses(&self, user_ids: &[i64]) -> Result<Vec<UserStatus>, PresenceError> {
        let mut connection = self.db.acquire().await?;
        Ok(user_status::find(&mut connection, user_ids).await?)
    }

    /// Lists the users who are online, most recent status change first.
    pub async fn list_online(
        &self,
        listeners_only: bool,
        limit: i32,
    ) -> Result<OnlineUserPage, PresenceError> {
        let limit = check_limit(limit)?;
        let mut connection = self.db.acquire().await?;
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX - 1) + 1;
        let mut statuses =
            user_status::list_online(&mut connection, listeners_only, one_more).await?;
        let has_more = statuses.len() > limit;
        statuses.truncate(limit);
        Ok(OnlineUserPage { statuses, has_more })
    }

    /// Applies the settings that a user has chosen. The request is refused if its session has ended.
    pub async fn update_settings(
        &self,
        user_id: i64,
        settings: StatusSettingsChange,
        session_id: &str,
    ) -> Result<UserStatus, PresenceError> {
        let mut tx = self.db.begin().await?;
        let change = StatusChange::Settings(settings);
        let now = self.clock.now();
        let mut results = apply_change(&mut tx, &[user_id], &change, now).await?;
        let (status, _) = results.pop().ok_or(PresenceError::UserNotFound)?;
        if status.has_ended_session(session_id) {
            return Err(PresenceError::SessionEnded);
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(status)
    }

    /// Applies logins and logouts in their order; returns the results of each.
    pub(crate) async fn apply_session_changes(
        &self,
        reported: &[ReportedStatusChange],
    ) -> Result<Vec<StatusChangeResults>, PresenceError> {
        let (tx, results) = self.begin_changes(reported).await?;
        tx.commit().await?;
        // Most logins are those of users who are online already, of which nobody is notified.
        if has_events(&results) {
            self.relay.wake();
        }
        Ok(results)
    }

    /// Applies the starts and ends of calls. The parties become busy unless the call is over already, and
    /// free again unless a later call has started.
    pub(crate) async fn apply_call_changes(
        &self,
        reported: &[ReportedStatusChange],
    ) -> Result<(), PresenceError> {
        let (tx, _) = self.begin_changes(reported).await?;
        failpoint::reach("presence.call.before_commit");
        tx.commit().await?;
        failpoint::reach("presence.call.committed");
        self.relay.wake();
        Ok(())
    }

    /// Applies changes that nearly always have an effect; returns the transaction, which the caller commits, and the
    /// results of each.
    async fn begin_changes(
        &self,
        reported: &[ReportedStatusChange],
    ) -> Result<(DatabaseTransaction, Vec<StatusChangeResults>), PresenceError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        if let Some(results) = change_existing(&mut tx, reported, now).await? {
            return Ok((tx, results));
        }
        tx.rollback().await?;
        let mut tx = self.db.begin().await?;
        let applied = apply_changes(&mut tx, reported, now).await?;
        Ok((tx, applied.results))
    }

    /// Records the heartbeats of a batch. Unknown users are in neither list of the result.
    pub async fn record_heartbeats(
        &self,
        heartbeats: Vec<UserHeartbeat>,
    ) -> Result<RecordedHeartbeats, PresenceError> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let mut recorded = BTreeMap::new();
        let mut not_recorded = BTreeSet::new();
        let mut events = Vec::new();
        for round in split_into_rounds(heartbeats) {
            not_recorded.extend(round.iter().map(|heartbeat| heartbeat.user_id));
            for row in user_status::record_heartbeats(&mut tx, &round, now).await? {
                if row.came_online {
                    let event = heartbeat_event(&row, row.came_online);
                    events.push((row.user_id, row.version, event));
                }
                recorded.insert(row.user_id, row);
            }
        }
        not_recorded.retain(|user_id| !recorded.contains_key(user_id));
        let not_recorded: Vec<i64> = not_recorded.into_iter().collect();
        let outdated_user_ids = match not_recorded.as_slice() {
            [] => Vec::new(),
            user_ids => user_status::find_existing_ids(&mut tx, user_ids).await?,
        };
        let has_events = !events.is_empty();
        outbox::append_all(&mut tx, now, events).await?;
        tx.commit().await?;
        if has_events {
            self.relay.wake();
        }
        Ok(RecordedHeartbeats {
            rows: recorded.into_values().collect(),
            outdated_user_ids,
        })
    }
}

/// The result of a batch of heartbeats.
#[derive(Debug)]
pub struct RecordedHeartbeats {
    /// Users whose heartbeat was recorded.
    pub rows: Vec<HeartbeatStatusRow>,
    /// Known users whose heartbeat was ignored, since its session has ended or they have gone offline after
    /// it.
    pub outdated_user_ids: Vec<i64>,
}
