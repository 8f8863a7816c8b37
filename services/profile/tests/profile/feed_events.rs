//! The feed's read model follows presence and calls, whatever order their events come in.

use talktime_kit::messaging::Handler;
use talktime_profile::events::FeedEvents;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{
    CallEnded, Event, StatusChanged, VerificationReviewed, VerificationRevoked,
};
use talktime_proto::timestamp;

use crate::Profile;
use crate::feed::{everyone, list};

impl Profile {
    pub(crate) async fn hear(&self, version: i64, kind: Kind) {
        let event = Event {
            version,
            happened_at: Some(timestamp(self.clock.now())),
            kind: Some(kind),
        };
        let mut tx = self.database.app.begin().await.expect("connected");
        FeedEvents.handle(&mut tx, event).await.expect("handled");
        tx.commit().await.expect("committed");
    }
}

pub(crate) fn status(user_id: i64, is_online: bool, is_busy: bool) -> Kind {
    Kind::StatusChanged(StatusChanged {
        user_id,
        is_online,
        is_busy,
        wait_time: is_busy.then_some(30),
        ..StatusChanged::default()
    })
}

fn call_ended(listener_id: i64, status: &str, duration_seconds: i64) -> Kind {
    Kind::CallEnded(CallEnded {
        listener_id,
        status: status.to_owned(),
        duration_seconds,
        ..CallEnded::default()
    })
}

#[tokio::test]
async fn the_newest_status_stays() {
    let profile = Profile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let ravi = profile.register("ravi", "user").await.user_id;
    profile.hear(1, status(asha, true, false)).await;
    profile.hear(3, status(asha, true, true)).await;
    profile.hear(2, status(asha, false, false)).await;
    profile.hear(1, status(ravi, true, false)).await;

    let page = list(&profile, everyone(0)).await;
    assert_eq!(page.listeners.len(), 1, "who is no listener is not shown");
    let listener = &page.listeners[0];
    assert!(listener.is_online && listener.is_busy);
    assert_eq!(listener.wait_time, Some(30));
    let counts = (page.total_count, page.online_count, page.available_count);
    assert_eq!(counts, (1, 1, 0));
}

#[tokio::test]
async fn calls_that_were_talked_are_counted() {
    let profile = Profile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    for (status, duration_seconds) in [
        ("completed", 100),
        ("dropped", 21),
        ("cancelled", 500),
        ("completed", 0),
    ] {
        profile
            .hear(1, call_ended(asha, status, duration_seconds))
            .await;
    }
    let page = list(&profile, everyone(0)).await;
    let listener = &page.listeners[0];
    assert_eq!(
        (listener.call_count, listener.avg_call_duration_secs),
        (2, 60)
    );
}

fn approved(user_id: i64) -> Kind {
    Kind::VerificationReviewed(VerificationReviewed {
        user_id,
        status: "approved".to_owned(),
        is_verified: true,
        ..VerificationReviewed::default()
    })
}

#[tokio::test]
async fn the_newest_standing_stays() {
    let profile = Profile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let is_verified = || async { list(&profile, everyone(0)).await.listeners[0].is_verified };
    assert!(!is_verified().await);
    profile.hear(1, approved(asha)).await;
    assert!(is_verified().await);
    let revoked = VerificationRevoked { user_id: asha };
    profile.hear(2, Kind::VerificationRevoked(revoked)).await;
    assert!(!is_verified().await);
    profile.hear(1, approved(asha)).await;
    assert!(!is_verified().await, "an older approval comes too late");
}
