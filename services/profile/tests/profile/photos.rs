//! Photos become images of users by event, and images by address can be refused.

use talktime_kit::Clock;
use talktime_kit::messaging::{EventHandler as _, Relay};
use talktime_profile::consumers::PhotoEventHandler;
use talktime_profile::domain::{ProfileError, UserProfileUpdate};
use talktime_profile::users::UserService;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, PhotoDeleted, PhotoReviewed};
use talktime_proto::profile::v1 as pb;

use crate::{TestProfile, UNKNOWN_USER};

const FIRST: &str = "https://api.example.com/photos/1";
const SECOND: &str = "https://api.example.com/photos/2";
const EXTERNAL: &str = "https://example.com/a.png";

async fn apply_event(profile: &TestProfile, version: i64, kind: Kind) {
    let event = Event {
        version,
        kind: Some(kind),
        ..Event::default()
    };
    let mut tx = profile.database.app.begin().await.expect("connected");
    let handled = PhotoEventHandler.handle(&mut tx, event).await;
    handled.expect("handled");
    tx.commit().await.expect("committed");
}

fn reviewed(user_id: i64, status: &str, image_url: Option<&str>) -> Kind {
    Kind::PhotoReviewed(PhotoReviewed {
        user_id,
        status: status.to_owned(),
        image_url: image_url.map(str::to_owned),
        ..PhotoReviewed::default()
    })
}

fn deleted(user_id: i64, image_url: &str) -> Kind {
    Kind::PhotoDeleted(PhotoDeleted {
        user_id,
        photo_id: 1,
        image_url: image_url.to_owned(),
    })
}

async fn find_image(profile: &TestProfile, user_id: i64) -> Option<String> {
    let user = profile.user(user_id).await.expect("found");
    user.profile_image_url
}

#[tokio::test]
async fn an_approved_photo_is_the_image_until_it_is_rejected_or_deleted() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "user").await.user_id;
    let has_image = async |expected: Option<&str>| {
        assert_eq!(find_image(&profile, asha).await.as_deref(), expected);
    };
    apply_event(&profile, 1, reviewed(asha, "rejected", None)).await;
    has_image(Some(EXTERNAL)).await;
    apply_event(&profile, 2, reviewed(asha, "approved", Some(FIRST))).await;
    has_image(Some(FIRST)).await;
    apply_event(&profile, 3, reviewed(asha, "rejected", Some(FIRST))).await;
    has_image(None).await;
    apply_event(&profile, 4, reviewed(asha, "approved", Some(SECOND))).await;
    has_image(Some(SECOND)).await;
    apply_event(&profile, 5, deleted(asha, SECOND)).await;
    has_image(None).await;
    apply_event(&profile, 1, reviewed(UNKNOWN_USER, "approved", Some(FIRST))).await;
}

#[tokio::test]
async fn older_events_and_other_images_are_left_alone() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "user").await.user_id;
    apply_event(&profile, 3, reviewed(asha, "approved", Some(SECOND))).await;
    apply_event(&profile, 2, reviewed(asha, "approved", Some(FIRST))).await;
    apply_event(&profile, 1, deleted(asha, SECOND)).await;
    assert_eq!(find_image(&profile, asha).await.as_deref(), Some(SECOND));
    let update = pb::UpdateUserRequest {
        user_id: asha,
        profile_image_url: Some(EXTERNAL.to_owned()),
        ..pb::UpdateUserRequest::default()
    };
    profile.update(update).await.expect("updated");
    apply_event(&profile, 4, deleted(asha, SECOND)).await;
    assert_eq!(find_image(&profile, asha).await.as_deref(), Some(EXTERNAL));
}

#[tokio::test]
async fn images_by_address_are_refused_if_the_operator_wants_it() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "user").await.user_id;
    apply_event(&profile, 1, reviewed(asha, "approved", Some(FIRST))).await;
    let db = profile.database.app.clone();
    let users = UserService::new(db, Relay::default(), Clock::System);
    let users = users.refuse_external_images(true);
    let set_image = async |url: &str| {
        let update = UserProfileUpdate {
            profile_image_url: Some(url.to_owned()),
            ..UserProfileUpdate::default()
        };
        users.update_user(asha, update).await
    };
    for url in [EXTERNAL, SECOND] {
        let refused = set_image(url).await;
        assert!(matches!(refused, Err(ProfileError::ExternalImage)), "{url}");
    }
    let same = set_image(FIRST).await.expect("the present image");
    assert_eq!(same.profile_image_url.as_deref(), Some(FIRST));
    let cleared = set_image("").await.expect("no image");
    assert_eq!(cleared.profile_image_url, None);
}
