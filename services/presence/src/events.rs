//! What presence tells and what it hears.

use sqlx::PgConnection;
use talktime_kit::messaging::{Handler, Relay};
use talktime_kit::{Clock, Error};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, StatusChanged};
use talktime_proto::{datetime, timestamp};

use crate::domain::{Change, PresenceError, Session, UserStatus};
use crate::statuses::{change, forget};

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
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let now = self.clock.now();
        match &event.kind {
            Some(Kind::UserDeleted(user)) => forget(tx, user.user_id, now).await?,
            Some(Kind::UserRegistered(user)) => {
                let is_listener = Change::Listener {
                    is_listener: user.role == LISTENER,
                    profile_version: event.version,
                };
                change(tx, &[user.user_id], &is_listener, now).await?;
            }
            _ => {}
        }
        if let Some((user_ids, what)) = change_of(event)? {
            change(tx, &user_ids, &what, now).await?;
        }
        Ok(())
    }

    fn committed(&self) {
        self.relay.wake();
    }
}

/// What an event means here, and to whom; `None` when nothing.
fn change_of(event: Event) -> Result<Option<(Vec<i64>, Change)>, PresenceError> {
    let profile_version = event.version;
    let happened_at = datetime(event.happened_at.as_ref());
    let named = |username| Change::Named {
        username,
        profile_version,
    };
    let session = |is_online, username| {
        Ok::<_, PresenceError>(Change::Session(Session {
            is_online,
            happened_at: happened_at.ok_or(PresenceError::NoInstant)?,
            username,
        }))
    };
    Ok(Some(match event.kind {
        Some(Kind::UserRegistered(user)) => (vec![user.user_id], named(user.username)),
        Some(Kind::UserUpdated(user)) => (vec![user.user_id], named(user.username)),
        Some(Kind::RoleChanged(role)) if role.role == LISTENER => {
            let listener = Change::Listener {
                is_listener: role.active,
                profile_version,
            };
            (vec![role.user_id], listener)
        }
        Some(Kind::LoggedIn(login)) => (vec![login.user_id], session(true, login.username)?),
        Some(Kind::LoggedOut(logout)) => (vec![logout.user_id], session(false, String::new())?),
        Some(Kind::CallStarted(call)) => {
            let began = Change::CallBegan {
                call_id: call.call_id,
                wait_time: call.wait_time,
            };
            (vec![call.user_id, call.listener_id], began)
        }
        Some(Kind::CallEnded(call)) => {
            let ended = Change::CallEnded {
                call_id: call.call_id,
            };
            (vec![call.user_id, call.listener_id], ended)
        }
        _ => return Ok(None),
    }))
}
