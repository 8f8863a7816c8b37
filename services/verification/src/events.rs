//! What verification hears: people go.

use sqlx::PgConnection;
use talktime_kit::Error;
use talktime_kit::messaging::Handler;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use crate::store::{listener_verifications, standings};

/// Forgets people who are gone. Their objects, which no row names any more, go with the reconciler.
pub struct ProfileEvents;

impl Handler for ProfileEvents {
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        if let Some(Kind::UserDeleted(user)) = event.kind {
            standings::lock(tx, user.user_id).await?;
            standings::delete(tx, user.user_id).await?;
            let samples = listener_verifications::delete_of(tx, user.user_id).await?;
            tracing::info!(user_id = user.user_id, samples, "user forgotten");
        }
        Ok(())
    }
}
