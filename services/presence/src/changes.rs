//! Changes of statuses, within a transaction: look, lock, decide, keep, tell.
//!
//! Requests and events tell of the same things and meet here. Whoever comes second finds nothing to do,
//! and an event finds it without a lock: a consumer that holds locks for a whole batch of
//! events would else stand in the way of requests.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use talktime_kit::messaging::outbox;
use talktime_kit::trace;

use crate::domain::{Change, Effect, PresenceError, UserStatus};
use crate::events::status_changed;
use crate::store::{deleted_users, user_status};

/// A change as it was told.
#[derive(Clone, Debug)]
pub struct Told {
    /// Whose status changes.
    pub user_ids: Vec<i64>,
    /// How.
    pub change: Change,
    /// The `traceparent` of the trace that its events belong to.
    pub traceparent: Option<String>,
}

/// Statuses after a change, in the order of user ids, and what it came to for each. Those who are
/// gone, or unknown to a change that makes nobody, are left out.
type Judged = Vec<(UserStatus, Effect)>;

/// Makes one change to the status of each of these, and writes an event for those whose status
/// looks different after it.
pub(crate) async fn change(
    tx: &mut PgConnection,
    user_ids: &[i64],
    change: &Change,
    now: DateTime<Utc>,
) -> Result<Judged, PresenceError> {
    let told = Told {
        user_ids: user_ids.to_vec(),
        change: change.clone(),
        traceparent: trace::current(),
    };
    let judged = change_all(tx, std::slice::from_ref(&told), now).await?;
    Ok(judged.into_iter().flatten().collect())
}

/// Makes changes one after the other and writes the events of all; answers for each. Rows are locked
/// together and in the order of user ids, so that two who change many do not wait for each other in a
/// circle.
pub(crate) async fn change_all(
    tx: &mut PgConnection,
    told: &[Told],
    now: DateTime<Utc>,
) -> Result<Vec<Judged>, PresenceError> {
    let found = user_status::find(tx, &people(told)).await?;
    let mut statuses = by_id(found);
    let mut news = make_missing(tx, told, &statuses, now).await?;
    let judged = apply(told, &mut statuses.clone(), now);
    news.extend(changed(&judged).map(|status| status.user_id));
    if news.is_empty() {
        return Ok(judged);
    }
    let news: Vec<i64> = news.into_iter().collect();
    statuses.retain(|user_id, _| news.binary_search(user_id).is_err());
    statuses.extend(by_id(user_status::lock(tx, &news).await?));
    make(tx, told, statuses, now).await
}

/// The same for changes that come to something nearly always: without a look before the lock. Answers
/// false where somebody is not known: then nothing is changed, and the transaction is to be given up,
/// since whoever makes people does so before they hold others.
pub(crate) async fn change_known(
    tx: &mut PgConnection,
    told: &[Told],
    now: DateTime<Utc>,
) -> Result<bool, PresenceError> {
    let people = people(told);
    let statuses = by_id(user_status::lock(tx, &people).await?);
    let all_are_known = statuses.len() == people.len();
    if all_are_known {
        make(tx, told, statuses, now).await?;
    }
    Ok(all_are_known)
}

/// Makes changes to statuses under lock, writes and tells them.
async fn make(
    tx: &mut PgConnection,
    told: &[Told],
    mut statuses: BTreeMap<i64, UserStatus>,
    now: DateTime<Utc>,
) -> Result<Vec<Judged>, PresenceError> {
    let judged = apply(told, &mut statuses, now);
    let changed: BTreeSet<i64> = changed(&judged).map(|status| status.user_id).collect();
    if changed.is_empty() {
        return Ok(judged);
    }
    let changed: Vec<&UserStatus> = changed.iter().map(|user_id| &statuses[user_id]).collect();
    user_status::save(tx, &changed).await?;
    outbox::append_traced(tx, now, events(told, &judged)).await?;
    Ok(judged)
}

fn people(told: &[Told]) -> Vec<i64> {
    let people = told.iter().flat_map(|told| &told.user_ids).copied();
    let people: BTreeSet<i64> = people.collect();
    people.into_iter().collect()
}

fn by_id(statuses: Vec<UserStatus>) -> BTreeMap<i64, UserStatus> {
    let by_id = statuses.into_iter().map(|status| (status.user_id, status));
    by_id.collect()
}

/// Makes rows for those who are not known and of whom a change makes somebody; answers who they are.
async fn make_missing(
    tx: &mut PgConnection,
    told: &[Told],
    known: &BTreeMap<i64, UserStatus>,
    now: DateTime<Utc>,
) -> sqlx::Result<BTreeSet<i64>> {
    let making = told.iter().filter(|told| told.change.makes_users());
    let missing: BTreeSet<i64> = making
        .flat_map(|told| &told.user_ids)
        .filter(|user_id| !known.contains_key(user_id))
        .copied()
        .collect();
    if !missing.is_empty() {
        let user_ids: Vec<i64> = missing.iter().copied().collect();
        deleted_users::take_turns(tx, &user_ids).await?;
        user_status::insert_missing(tx, &user_ids, now).await?;
    }
    Ok(missing)
}

fn apply(
    told: &[Told],
    statuses: &mut BTreeMap<i64, UserStatus>,
    now: DateTime<Utc>,
) -> Vec<Judged> {
    let mut all = Vec::with_capacity(told.len());
    for Told {
        user_ids, change, ..
    } in told
    {
        let user_ids: BTreeSet<&i64> = user_ids.iter().collect();
        let mut judged = Vec::with_capacity(user_ids.len());
        for user_id in user_ids {
            if let Some(status) = statuses.get_mut(user_id) {
                let effect = status.apply(change, now);
                judged.push((status.clone(), effect));
            }
        }
        all.push(judged);
    }
    all
}

fn changed(judged: &[Judged]) -> impl Iterator<Item = &UserStatus> {
    let all = judged.iter().flatten();
    all.filter(|(_, effect)| *effect != Effect::Nothing)
        .map(|(status, _)| status)
}

fn events(told: &[Told], judged: &[Judged]) -> Vec<outbox::Traced> {
    let mut events = Vec::new();
    for (Told { traceparent, .. }, judged) in told.iter().zip(judged) {
        for (status, effect) in judged {
            if let Effect::Seen { came_online } = effect {
                let kind = status_changed(status, *came_online);
                let event = (status.user_id, status.version, kind);
                events.push((event, traceparent.clone()));
            }
        }
    }
    events
}

/// Writes an event for each of these, who were put offline.
pub(crate) async fn tell_offline(
    tx: &mut PgConnection,
    silent: impl Iterator<Item = &UserStatus>,
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let events: Vec<_> = silent
        .map(|status| {
            let kind = status_changed(status, false);
            (status.user_id, status.version, kind)
        })
        .collect();
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
