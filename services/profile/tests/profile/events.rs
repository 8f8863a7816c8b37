//! Events of other services, applied to the feed's read model.

use talktime_kit::messaging::EventHandler;
use talktime_profile::consumers::FeedEventHandler;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, StatusChanged};
use talktime_proto::timestamp;

use crate::TestProfile;

impl TestProfile {
    pub(crate) async fn apply_event(&self, version: i64, kind: Kind) {
        let event = Event {
            version,
            happened_at: Some(timestamp(self.clock.now())),
            kind: Some(kind),
        };
        let mut tx = self.database.app.begin().await.expect("connected");
        FeedEventHandler
            .handle(&mut tx, event)
            .await
            .expect("handled");
        tx.commit().await.expect("committed");
    }
}

pub(crate) const ONLINE: bool = true;
pub(crate) const OFFLINE: bool = false;
pub(crate) const BUSY: bool = true;
pub(crate) const FREE: bool = false;

pub(crate) fn status(user_id: i64, is_online: bool, is_busy: bool) -> Kind {
    Kind::StatusChanged(StatusChanged {
        user_id,
        is_online,
        is_busy,
        wait_time: is_busy.then_some(30),
        ..StatusChanged::default()
    })
}
