//! What the calls service hears: listeners come, people go.

use sqlx::PgConnection;
use talktime_kit::Error;
use talktime_kit::messaging::Handler;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use crate::store::{badges, call_ratings, calls};

const LISTENER: &str = "listener";

/// Knows who takes calls, and forgets who was deleted.
pub(crate) struct ProfileEvents;

impl Handler for ProfileEvents {
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        match event.kind {
            Some(Kind::UserRegistered(user)) if user.role == LISTENER => {
                badges::add_listener(tx, user.user_id).await?;
            }
            Some(Kind::RoleChanged(change)) if change.role == LISTENER && change.active => {
                badges::add_listener(tx, change.user_id).await?;
            }
            Some(Kind::RoleChanged(change)) if change.role == LISTENER => {
                badges::remove_listener(tx, change.user_id).await?;
            }
            Some(Kind::UserDeleted(user)) => {
                calls::forget_name(tx, user.user_id).await?;
                badges::forget(tx, user.user_id).await?;
                call_ratings::forget(tx, user.user_id).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
