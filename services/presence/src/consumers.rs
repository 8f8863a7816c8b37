//! Events that presence consumes.

use std::sync::atomic::{AtomicBool, Ordering};

use talktime_kit::db::{self, PgConnection};
use talktime_kit::messaging::{EventHandler, ReceivedEvent, Relay};
use talktime_kit::{Clock, Error, trace};
use talktime_proto::datetime;
use talktime_proto::events::consumers::{
    DurableConsumer, PRESENCE_AUTH, PRESENCE_CALLS, PRESENCE_PROFILE,
};
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::ROLE_LISTENER;
use tracing::Span;

use crate::changes::{ReportedStatusChange, apply_changes, delete_user};
use crate::domain::{PresenceError, SessionChange, StatusChange};

/// Sources of the events that presence consumes: names and roles, logins and logouts, calls.
pub(crate) const CONSUMERS: [DurableConsumer; 3] =
    [PRESENCE_PROFILE, PRESENCE_AUTH, PRESENCE_CALLS];

/// Applies events about names, roles, logins and calls. Most of them repeat what a request has reported before.
///
/// Each consumer has a handler of its own, which handles one transaction after the other.
pub struct PresenceEventHandler {
    relay: Relay,
    clock: Clock,
    /// Whether a transaction may have appended events of which the relay does not know yet.
    has_written: AtomicBool,
}

impl PresenceEventHandler {
    /// Returns a consumer that wakes `relay` after it has appended events.
    pub fn new(relay: Relay, clock: Clock) -> Self {
        Self {
            relay,
            clock,
            has_written: AtomicBool::new(false),
        }
    }
}

impl EventHandler for PresenceEventHandler {
    // Most events change nothing and lock nothing; the others lock in one order (see `changes`).
    const MESSAGES_PER_TRANSACTION_MAX: usize = 64;

    fn wants(&self, event: &Event) -> bool {
        let is_deletion = matches!(event.kind, Some(Kind::UserDeleted(_)));
        is_deletion || changes_from_event(event.clone()).map_or(true, |changes| !changes.is_empty())
    }

    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let span = Span::current();
        self.handle_all(tx, vec![ReceivedEvent { event, span }])
            .await
    }

    async fn handle_all(
        &self,
        tx: &mut PgConnection,
        events: Vec<ReceivedEvent>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut reported = Vec::new();
        let mut may_have_written = false;
        for ReceivedEvent { event, span } in events {
            if let Some(Kind::UserDeleted(user)) = &event.kind {
                // The events before the deletion are applied first, since order matters for this user.
                apply_changes(tx, &reported, now).await?;
                reported.clear();
                delete_user(tx, user.user_id, now).await?;
                may_have_written = true;
            }
            let changes = changes_from_event(event)?.into_iter();
            reported.extend(changes.map(|(user_ids, change)| ReportedStatusChange {
                user_ids,
                change,
                traceparent: trace::of(&span),
            }));
        }
        may_have_written |= apply_changes(tx, &reported, now).await?.may_have_written;
        if may_have_written {
            // It stays set if the commit fails, and the relay then looks once for nothing.
            self.has_written.store(true, Ordering::Relaxed);
        } else {
            // Only the inbox has new rows. Should a crash lose them, the events find nothing to do again, since
            // what they repeat was durable before it could be read here.
            db::commit_without_disk(tx).await?;
        }
        Ok(())
    }

    fn committed(&self) {
        if self.has_written.swap(false, Ordering::Relaxed) {
            self.relay.wake();
        }
    }
}

/// Returns the changes that an event reports, each with the affected users. It is empty for an event that
/// does not concern presence.
fn changes_from_event(event: Event) -> Result<Vec<(Vec<i64>, StatusChange)>, PresenceError> {
    let profile_version = event.version;
    let happened_at = datetime(event.happened_at.as_ref());
    let named = |username| StatusChange::Named {
        username,
        profile_version,
    };
    let listener = |is_listener| StatusChange::Listener {
        is_listener,
        profile_version,
    };
    let session = |is_online, username, ended_session_ids| {
        Ok::<_, PresenceError>(StatusChange::Session(SessionChange {
            is_online,
            happened_at: happened_at.ok_or(PresenceError::MissingHappenedAt)?,
            username,
            ended_session_ids,
        }))
    };
    Ok(match event.kind {
        Some(Kind::UserRegistered(user)) => vec![
            (vec![user.user_id], listener(user.role == ROLE_LISTENER)),
            (vec![user.user_id], named(user.username)),
        ],
        Some(Kind::UserUpdated(user)) => vec![(vec![user.user_id], named(user.username))],
        Some(Kind::RoleChanged(role)) if role.role == ROLE_LISTENER => {
            vec![(vec![role.user_id], listener(role.active))]
        }
        Some(Kind::LoggedIn(login)) => {
            let is_online = true;
            let change = session(is_online, login.username, vec![])?;
            vec![(vec![login.user_id], change)]
        }
        Some(Kind::LoggedOut(logout)) => {
            let is_online = false;
            let change = session(is_online, String::new(), logout.session_ids)?;
            vec![(vec![logout.user_id], change)]
        }
        Some(Kind::CallStarted(call)) => {
            let began = StatusChange::CallBegan {
                call_id: call.call_id,
                wait_time: Some(call.wait_time),
            };
            vec![(vec![call.user_id, call.listener_id], began)]
        }
        Some(Kind::CallRinging(call)) => {
            let began = StatusChange::CallBegan {
                call_id: call.call_id,
                wait_time: None,
            };
            vec![(vec![call.user_id, call.listener_id], began)]
        }
        Some(Kind::CallUnanswered(call)) => {
            vec![call_ended(call.call_id, [call.user_id, call.listener_id])]
        }
        Some(Kind::CallsPaused(paused)) => {
            let happened_at = happened_at.ok_or(PresenceError::MissingHappenedAt)?;
            let change = StatusChange::CallsPaused { happened_at };
            vec![(vec![paused.listener_id], change)]
        }
        // Users are free as soon as they hang up, even though the settlement of the call follows later.
        Some(Kind::CallHungUp(call)) => {
            vec![call_ended(call.call_id, [call.user_id, call.listener_id])]
        }
        Some(Kind::CallEnded(call)) => {
            vec![call_ended(call.call_id, [call.user_id, call.listener_id])]
        }
        _ => vec![],
    })
}

fn call_ended(call_id: i64, parties: [i64; 2]) -> (Vec<i64>, StatusChange) {
    (parties.to_vec(), StatusChange::CallEnded { call_id })
}
