//! Events that verification consumes.

use talktime_kit::Error;
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::EventHandler;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;

use crate::store::{data_exports, listener_verifications, profile_photos, standings};

/// Deletes the rows of deleted users. The reconciler removes their objects, which no row names any more.
pub struct UserDeletionHandler;

impl EventHandler for UserDeletionHandler {
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        if let Some(Kind::UserDeleted(user)) = event.kind {
            standings::lock(tx, user.user_id).await?;
            standings::mark_deleted(tx, user.user_id).await?;
            let samples = listener_verifications::delete_all(tx, user.user_id).await?;
            data_exports::delete(tx, user.user_id).await?;
            let photos = profile_photos::delete_all(tx, user.user_id).await?;
            tracing::info!(
                user_id = user.user_id,
                samples,
                photos,
                "deleted the files of a user"
            );
        }
        Ok(())
    }
}
