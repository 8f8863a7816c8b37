//! What the calls service hears: people go.

use sqlx::PgConnection;
use talktime_kit::Error;
use talktime_kit::messaging::Handler;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use crate::store::{call_ratings, calls};

/// Forgets who was deleted.
pub(crate) struct ProfileEvents;

impl Handler for ProfileEvents {
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        if let Some(Kind::UserDeleted(user)) = event.kind {
            calls::forget_name(tx, user.user_id).await?;
            call_ratings::forget(tx, user.user_id).await?;
        }
        Ok(())
    }
}
