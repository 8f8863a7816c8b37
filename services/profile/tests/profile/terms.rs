//! The terms that users accept, and those that an operator requires.

use talktime_kit::messaging::Relay;
use talktime_profile::domain::{ProfileError, RequiredTermsVersion, UserProfileUpdate};
use talktime_profile::users::UserService;
use talktime_proto::profile::v1 as pb;
use talktime_proto::timestamp;

use crate::{TestProfile, registration};

#[tokio::test]
async fn accepted_terms_are_kept_with_the_time() {
    let profile = TestProfile::start().await;
    let mut request = registration("asha", "user");
    request.terms_version = Some("1".to_owned());
    let registered = profile.create(request.clone()).await.expect("registered");
    let first = Some(timestamp(profile.clock.now()));
    assert_eq!(registered.terms_version.as_deref(), Some("1"));
    assert_eq!(registered.terms_accepted_at, first);

    profile.advance_seconds(60);
    let accept = |version: &str| pb::UpdateUserRequest {
        user_id: registered.user_id,
        terms_version: Some(version.to_owned()),
        ..pb::UpdateUserRequest::default()
    };
    let again = profile.update(accept("1")).await.expect("the same");
    assert_eq!(again.terms_accepted_at, first);
    let updated = profile.update(accept("2")).await.expect("updated");
    let second = Some(timestamp(profile.clock.now()));
    assert_eq!(updated.terms_version.as_deref(), Some("2"));
    assert_eq!(updated.terms_accepted_at, second);

    let repeated = profile
        .create(request)
        .await
        .expect("the same registration");
    assert_eq!(repeated, updated);
}

#[tokio::test]
async fn an_update_must_accept_the_terms_that_an_operator_requires() {
    let profile = TestProfile::start().await;
    let user = profile.register("asha", "user").await;
    let (db, clock) = (profile.database.app.clone(), profile.clock.clone());
    let required = RequiredTermsVersion::new(Some("2".to_owned()));
    let users = UserService::new(db, Relay::default(), clock).require_terms(required);
    let accept = |version: Option<&str>| UserProfileUpdate {
        bio: Some("Hello again".to_owned()),
        terms_version: version.map(str::to_owned),
        ..UserProfileUpdate::default()
    };
    let outdated = users.update_user(user.user_id, accept(Some("1"))).await;
    assert!(matches!(outdated, Err(ProfileError::TermsOutdated)));
    for version in [None, Some("2")] {
        let updated = users.update_user(user.user_id, accept(version)).await;
        assert_eq!(updated.expect("updated").terms_version.as_deref(), version);
    }
}
