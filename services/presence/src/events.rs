//! What presence tells and what it hears.

use sqlx::PgConnection;
use talktime_kit::messaging::{Handler, Received, Relay};
use talktime_kit::{Clock, Error, trace};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, StatusChanged};
use talktime_proto::{datetime, timestamp};
use tracing::Span;

use crate::changes::{Told, change_all, forget};
use crate::domain::{Change, PresenceError, Session, UserStatus};
use crate::store::user_status::Alive;

/// The event of a status that others see differently now. `came_online` is for the change that put
/// them online.
pub fn status_changed(status: &UserStatus, came_online: bool) -> Kind {
    Kind::StatusChanged(StatusChanged {
        user_id: status.user_id,
        username: status.username.clone(),
        is_online: status.is_online,
        is_busy: status.is_busy,
        wait_time: status.wait_time,
        last_seen: Some(timestamp(status.last_seen)),
        is_listener: status.is_listener,
        came_online,
    })
}

/// The same of somebody who has shown a sign of life.
pub fn sign_of_life(alive: &Alive, came_online: bool) -> Kind {
    Kind::StatusChanged(StatusChanged {
        user_id: alive.user_id,
        username: alive.username.clone(),
        is_online: true,
        is_busy: alive.is_busy,
        wait_time: alive.wait_time,
        last_seen: Some(timestamp(alive.last_seen)),
        is_listener: alive.is_listener,
        came_online,
    })
}

const LISTENER: &str = "listener";

/// Follows names, roles, logins and calls. Most of them a request has brought before.
pub struct Listening {
    relay: Relay,
    clock: Clock,
}

impl Listening {
    /// `relay` is woken when an event led to events.
    pub fn new(relay: Relay, clock: Clock) -> Self {
        Self { relay, clock }
    }
}

impl Handler for Listening {
    // Most events find nothing to do and lock nothing; the others lock in one order.
    const MESSAGES_PER_TRANSACTION_MAX: usize = 64;

    fn wants(&self, event: &Event) -> bool {
        let is_deletion = matches!(event.kind, Some(Kind::UserDeleted(_)));
        is_deletion || changes_of(event.clone()).map_or(true, |changes| !changes.is_empty())
    }

    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let span = Span::current();
        self.handle_all(tx, vec![Received { event, span }]).await
    }

    async fn handle_all(&self, tx: &mut PgConnection, events: Vec<Received>) -> Result<(), Error> {
        let now = self.clock.now();
        let mut told = Vec::new();
        for Received { event, span } in events {
            if let Some(Kind::UserDeleted(user)) = &event.kind {
                change_all(tx, &told, now).await?;
                told.clear();
                forget(tx, user.user_id, now).await?;
            }
            let changes = changes_of(event)?.into_iter();
            told.extend(changes.map(|(user_ids, change)| Told {
                user_ids,
                change,
                traceparent: trace::of(&span),
            }));
        }
        change_all(tx, &told, now).await?;
        Ok(())
    }

    fn committed(&self) {
        self.relay.wake();
    }
}

/// What an event means here, and to whom.
fn changes_of(event: Event) -> Result<Vec<(Vec<i64>, Change)>, PresenceError> {
    let profile_version = event.version;
    let happened_at = datetime(event.happened_at.as_ref());
    let named = |username| Change::Named {
        username,
        profile_version,
    };
    let listener = |is_listener| Change::Listener {
        is_listener,
        profile_version,
    };
    let session = |is_online, username, ended_session_ids| {
        Ok::<_, PresenceError>(Change::Session(Session {
            is_online,
            happened_at: happened_at.ok_or(PresenceError::NoInstant)?,
            username,
            ended_session_ids,
        }))
    };
    Ok(match event.kind {
        Some(Kind::UserRegistered(user)) => vec![
            (vec![user.user_id], listener(user.role == LISTENER)),
            (vec![user.user_id], named(user.username)),
        ],
        Some(Kind::UserUpdated(user)) => vec![(vec![user.user_id], named(user.username))],
        Some(Kind::RoleChanged(role)) if role.role == LISTENER => {
            vec![(vec![role.user_id], listener(role.active))]
        }
        Some(Kind::LoggedIn(login)) => {
            vec![(vec![login.user_id], session(true, login.username, vec![])?)]
        }
        Some(Kind::LoggedOut(logout)) => {
            let change = session(false, String::new(), logout.session_ids)?;
            vec![(vec![logout.user_id], change)]
        }
        Some(Kind::CallStarted(call)) => {
            let began = Change::CallBegan {
                call_id: call.call_id,
                wait_time: call.wait_time,
            };
            vec![(vec![call.user_id, call.listener_id], began)]
        }
        // People are free from the hang-up on, whenever the figures of the call follow.
        Some(Kind::CallHungUp(call)) => {
            vec![ended(call.call_id, [call.user_id, call.listener_id])]
        }
        Some(Kind::CallEnded(call)) => {
            vec![ended(call.call_id, [call.user_id, call.listener_id])]
        }
        _ => vec![],
    })
}

fn ended(call_id: i64, parties: [i64; 2]) -> (Vec<i64>, Change) {
    (parties.to_vec(), Change::CallEnded { call_id })
}
