//! The feed's read model follows events of presence and calls in any order.

use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallEnded, VerificationReviewed, VerificationRevoked};
use talktime_proto::profile::v1 as pb;

use crate::TestProfile;
use crate::events::{BUSY, FREE, OFFLINE, ONLINE, status};
use crate::feed::{first_page, list_page};

fn call_ended(listener_id: i64, status: &str, duration_seconds: i64) -> Kind {
    Kind::CallEnded(CallEnded {
        listener_id,
        status: status.to_owned(),
        duration_seconds,
        ..CallEnded::default()
    })
}

#[tokio::test]
async fn an_older_status_does_not_replace_a_newer_one() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let ravi = profile.register("ravi", "user").await.user_id;
    profile.apply_event(1, status(asha, ONLINE, FREE)).await;
    profile.apply_event(3, status(asha, ONLINE, BUSY)).await;
    profile.apply_event(2, status(asha, OFFLINE, FREE)).await;
    profile.apply_event(1, status(ravi, ONLINE, FREE)).await;

    let page = list_page(&profile, first_page(0)).await;
    assert_eq!(
        page.listeners.len(),
        1,
        "a user who is no listener is not in the feed"
    );
    let listener = &page.listeners[0];
    assert!(listener.is_online && listener.is_busy);
    assert_eq!(listener.wait_time, Some(30));
    let counts = (page.total_count, page.online_count, page.available_count);
    assert_eq!(counts, (1, 1, 0));
}

#[tokio::test]
async fn only_calls_with_talk_time_are_counted() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    for (status, duration_seconds) in [
        ("completed", 100),
        ("dropped", 21),
        ("cancelled", 500),
        ("completed", 0),
    ] {
        profile
            .apply_event(1, call_ended(asha, status, duration_seconds))
            .await;
    }
    let page = list_page(&profile, first_page(0)).await;
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
async fn an_older_standing_does_not_replace_a_newer_one() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let is_verified =
        || async { list_page(&profile, first_page(0)).await.listeners[0].is_verified };
    assert!(!is_verified().await);
    profile.apply_event(1, approved(asha)).await;
    assert!(is_verified().await);
    let revoked = VerificationRevoked { user_id: asha };
    profile
        .apply_event(2, Kind::VerificationRevoked(revoked))
        .await;
    assert!(!is_verified().await);
    profile.apply_event(1, approved(asha)).await;
    assert!(!is_verified().await, "an older approval changes nothing");
}

#[tokio::test]
async fn changes_of_profiles_and_roles_are_in_the_feed_at_once() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    let mut request = first_page(0);
    request.language = Some("ta".to_owned());
    assert_eq!(list_page(&profile, request.clone()).await.total_count, 0);
    let update = pb::UpdateUserRequest {
        user_id: asha,
        preferred_language: Some("ta".to_owned()),
        ..pb::UpdateUserRequest::default()
    };
    profile.update(update).await.expect("updated");
    assert_eq!(list_page(&profile, request.clone()).await.total_count, 1);
    for (active, total) in [(false, 0), (true, 1)] {
        sqlx::query("UPDATE profile.user_roles SET active = $2 WHERE user_id = $1")
            .bind(asha)
            .bind(active)
            .execute(&profile.database.app_pool)
            .await
            .expect("changed");
        assert_eq!(
            list_page(&profile, request.clone()).await.total_count,
            total
        );
    }
}
