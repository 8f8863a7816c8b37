//! Applies changes to statuses within a transaction: read, lock, decide, save, append events.
//!
//! A request and an event often report the same change, and both are applied here. The second report finds
//! nothing to do. For an event this is found out without a lock: a consumer holds its locks until a whole
//! batch of events is committed, and would otherwise delay requests.
//!
//! Lock order of each function: first the lifecycle locks of users without a row
//! ([`deleted_users::lock_user_lifecycle`]), then the rows of [`user_status`], each in ascending order of
//! user ids, so that transactions that change several users do not wait for each other in a circle. Only a
//! batch of events with a deletion locks in several steps. If it meets a deadlock, Postgres aborts it, and
//! the consumer handles its events one by one.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::outbox::{self, OutboxColumns};
use talktime_kit::trace;

use crate::domain::{PresenceError, StatusChange, StatusChangeEffect, UserStatus};
use crate::events::status_changed_event;
use crate::store::{deleted_users, user_status};

/// A change as a request or an event reports it.
#[derive(Clone, Debug)]
pub struct ReportedStatusChange {
    /// The users whose status changes.
    pub user_ids: Vec<i64>,
    /// The change, the same for each of them.
    pub change: StatusChange,
    /// The `traceparent` of the trace that the resulting events belong to.
    pub traceparent: Option<String>,
}

/// The status of each affected user after a change, with the effect of the change, in ascending order of
/// user ids. Deleted users are left out, and so are unknown users unless the change creates them.
pub(crate) type StatusChangeResults = Vec<(UserStatus, StatusChangeEffect)>;

/// The outcomes of several changes.
pub(crate) struct AppliedStatusChanges {
    /// The results of each change, in order.
    pub(crate) results: Vec<StatusChangeResults>,
    /// Whether the transaction may have written anything. Reports that repeat others write nothing.
    pub(crate) may_have_written: bool,
}

/// Applies one change to several users and appends an event for each visible effect.
pub(crate) async fn apply_change(
    tx: &mut PgConnection,
    user_ids: &[i64],
    change: &StatusChange,
    now: DateTime<Utc>,
) -> Result<StatusChangeResults, PresenceError> {
    let reported = ReportedStatusChange {
        user_ids: user_ids.to_vec(),
        change: change.clone(),
        traceparent: trace::current(),
    };
    let applied = apply_changes(tx, std::slice::from_ref(&reported), now).await?;
    Ok(applied.results.into_iter().flatten().collect())
}

/// Applies changes in their order and appends the events of all of them.
pub(crate) async fn apply_changes(
    tx: &mut PgConnection,
    reported: &[ReportedStatusChange],
    now: DateTime<Utc>,
) -> Result<AppliedStatusChanges, PresenceError> {
    let found = user_status::find(tx, &sorted_user_ids(reported)).await?;
    let mut statuses = index_by_user_id(found);
    let mut affected = insert_missing_users(tx, reported, &statuses, now).await?;
    // A trial run on unlocked copies finds the users whose rows must be locked.
    let results = evaluate_changes(reported, &mut statuses.clone(), now);
    affected.extend(changed_statuses(&results).map(|status| status.user_id));
    if affected.is_empty() {
        return Ok(AppliedStatusChanges {
            results,
            may_have_written: false,
        });
    }
    let affected: Vec<i64> = affected.into_iter().collect();
    statuses.retain(|user_id, _| affected.binary_search(user_id).is_err());
    statuses.extend(index_by_user_id(user_status::lock(tx, &affected).await?));
    Ok(AppliedStatusChanges {
        results: apply_locked(tx, reported, statuses, now).await?,
        may_have_written: true,
    })
}

/// Applies changes that nearly always have an effect, and therefore locks all rows without a trial run.
/// Returns `None` when a user is unknown. Then nothing has been changed, and the caller must roll back and
/// use [`apply_changes`]: the lifecycle lock of a new user has to be taken before any row is locked.
pub(crate) async fn change_existing(
    tx: &mut PgConnection,
    reported: &[ReportedStatusChange],
    now: DateTime<Utc>,
) -> Result<Option<Vec<StatusChangeResults>>, PresenceError> {
    let user_ids = sorted_user_ids(reported);
    let statuses = index_by_user_id(user_status::lock(tx, &user_ids).await?);
    if statuses.len() != user_ids.len() {
        return Ok(None);
    }
    Ok(Some(apply_locked(tx, reported, statuses, now).await?))
}

/// Returns whether any of these results has appended an event.
pub(crate) fn has_events(results: &[StatusChangeResults]) -> bool {
    let mut effects = results.iter().flatten().map(|(_, effect)| effect);
    effects.any(|effect| matches!(effect, StatusChangeEffect::Visible { .. }))
}

/// Applies changes to locked statuses, saves them and appends their events.
async fn apply_locked(
    tx: &mut PgConnection,
    reported: &[ReportedStatusChange],
    mut statuses: BTreeMap<i64, UserStatus>,
    now: DateTime<Utc>,
) -> Result<Vec<StatusChangeResults>, PresenceError> {
    let results = evaluate_changes(reported, &mut statuses, now);
    let changed = changed_statuses(&results).map(|status| status.user_id);
    let changed: BTreeSet<i64> = changed.collect();
    if changed.is_empty() {
        return Ok(results);
    }
    let changed: Vec<&UserStatus> = changed.iter().map(|user_id| &statuses[user_id]).collect();
    let events = OutboxColumns::encode(now, visible_events(reported, &results));
    user_status::update(tx, &changed, events).await?;
    Ok(results)
}

fn sorted_user_ids(reported: &[ReportedStatusChange]) -> Vec<i64> {
    let user_ids = reported.iter().flat_map(|reported| &reported.user_ids);
    let user_ids: BTreeSet<i64> = user_ids.copied().collect();
    user_ids.into_iter().collect()
}

fn index_by_user_id(statuses: Vec<UserStatus>) -> BTreeMap<i64, UserStatus> {
    let indexed = statuses.into_iter().map(|status| (status.user_id, status));
    indexed.collect()
}

/// Inserts rows for the users who have none, as far as a change creates them; returns their ids.
async fn insert_missing_users(
    tx: &mut PgConnection,
    reported: &[ReportedStatusChange],
    known: &BTreeMap<i64, UserStatus>,
    now: DateTime<Utc>,
) -> sqlx::Result<BTreeSet<i64>> {
    let creating = reported
        .iter()
        .filter(|reported| reported.change.creates_users());
    let missing: BTreeSet<i64> = creating
        .flat_map(|reported| &reported.user_ids)
        .filter(|user_id| !known.contains_key(user_id))
        .copied()
        .collect();
    if !missing.is_empty() {
        let user_ids: Vec<i64> = missing.iter().copied().collect();
        deleted_users::lock_user_lifecycle(tx, &user_ids).await?;
        user_status::insert_missing(tx, &user_ids, now).await?;
    }
    Ok(missing)
}

/// Applies changes to statuses in memory and returns the results of each change.
fn evaluate_changes(
    reported: &[ReportedStatusChange],
    statuses: &mut BTreeMap<i64, UserStatus>,
    now: DateTime<Utc>,
) -> Vec<StatusChangeResults> {
    let mut all_results = Vec::with_capacity(reported.len());
    for ReportedStatusChange {
        user_ids, change, ..
    } in reported
    {
        let user_ids: BTreeSet<&i64> = user_ids.iter().collect();
        let mut results = Vec::with_capacity(user_ids.len());
        for user_id in user_ids {
            if let Some(status) = statuses.get_mut(user_id) {
                let effect = status.apply(change, now);
                results.push((status.clone(), effect));
            }
        }
        all_results.push(results);
    }
    all_results
}

fn changed_statuses(results: &[StatusChangeResults]) -> impl Iterator<Item = &UserStatus> {
    let all = results.iter().flatten();
    all.filter(|(_, effect)| *effect != StatusChangeEffect::Unchanged)
        .map(|(status, _)| status)
}

fn visible_events(
    reported: &[ReportedStatusChange],
    results: &[StatusChangeResults],
) -> Vec<outbox::TracedEvent> {
    let mut events = Vec::new();
    for (ReportedStatusChange { traceparent, .. }, results) in reported.iter().zip(results) {
        for (status, effect) in results {
            if let StatusChangeEffect::Visible { came_online } = effect {
                let kind = status_changed_event(status, *came_online);
                let event = (status.user_id, status.version, kind);
                events.push((event, traceparent.clone()));
            }
        }
    }
    events
}

/// Appends an event for each user whom the sweep marked offline.
pub(crate) async fn append_offline_events(
    tx: &mut PgConnection,
    silent: impl Iterator<Item = &UserStatus>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let events: Vec<_> = silent
        .map(|status| {
            let came_online = false;
            let kind = status_changed_event(status, came_online);
            (status.user_id, status.version, kind)
        })
        .collect();
    outbox::append_all(tx, now, events).await
}

/// Deletes the status of a user and remembers the deletion, so that no late message creates it again.
pub(crate) async fn delete_user(
    tx: &mut PgConnection,
    user_id: i64,
    now: DateTime<Utc>,
) -> Result<(), PresenceError> {
    deleted_users::lock_user_lifecycle(tx, &[user_id]).await?;
    deleted_users::insert(tx, user_id, now).await?;
    user_status::delete(tx, user_id).await?;
    Ok(())
}
