//! Users change their own profiles.

use futures::future::join_all;
use talktime_profile::admin_roles::{grant_admin, revoke_admin};
use talktime_proto::events::v1::UserUpdated;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::v1 as pb;
use talktime_proto::timestamp;
use tonic::Code;

use crate::{TestProfile, UNKNOWN_USER, refusal};

#[tokio::test]
async fn an_update_changes_the_named_fields_and_publishes_an_event() {
    let profile = TestProfile::start().await;
    let before = profile.register("asha", "user").await;
    profile.advance_seconds(60);
    let update = pb::UpdateUserRequest {
        user_id: before.user_id,
        username: Some("ASHA".to_owned()),
        interests: Some(pb::Interests { values: vec![] }),
        country: Some("IN".to_owned()),
        ..pb::UpdateUserRequest::default()
    };
    let expected = pb::User {
        username: "ASHA".to_owned(),
        interests: vec![],
        country: Some("IN".to_owned()),
        updated_at: Some(timestamp(profile.clock.now())),
        ..before.clone()
    };
    assert_eq!(profile.update(update).await.expect("updated"), expected);
    assert_eq!(profile.user(before.user_id).await.expect("found"), expected);

    let events = profile.load_events(before.user_id).await;
    let updated = Kind::UserUpdated(UserUpdated {
        user_id: before.user_id,
        username: "ASHA".to_owned(),
    });
    assert_eq!((events[1].version, &events[1].kind), (2, &Some(updated)));
}

#[tokio::test]
async fn an_update_without_a_difference_publishes_no_event() {
    let profile = TestProfile::start().await;
    let before = profile.register("asha", "user").await;
    profile.advance_seconds(60);
    let update = pb::UpdateUserRequest {
        user_id: before.user_id,
        bio: before.bio.clone(),
        ..pb::UpdateUserRequest::default()
    };
    assert_eq!(profile.update(update).await.expect("the same"), before);
    assert_eq!(profile.load_events(before.user_id).await.len(), 1);
}

#[tokio::test]
async fn fields_that_break_a_rule_are_refused() {
    type RequestChange = fn(&mut pb::UpdateUserRequest);
    let cases: [(&str, RequestChange); 9] = [
        ("invalid_terms_version", |r| {
            r.terms_version = Some("two words".to_owned());
        }),
        ("invalid_username", |r| r.username = Some("ab".to_owned())),
        ("invalid_bio", |r| r.bio = Some("x".repeat(501))),
        ("invalid_interests", |r| {
            r.interests = Some(pb::Interests {
                values: vec![String::new()],
            });
        }),
        ("invalid_profile_image_url", |r| {
            r.profile_image_url = Some("x".to_owned());
        }),
        ("invalid_language", |r| {
            r.preferred_language = Some("x".to_owned());
        }),
        ("invalid_country", |r| r.country = Some(" ".to_owned())),
        ("invalid_rating", |r| r.rating_hundredths = Some(501)),
        ("invalid_rating", |r| r.rating_hundredths = Some(-1)),
    ];
    let profile = TestProfile::start().await;
    let user = profile.register("asha", "user").await;
    for (name, break_request) in cases {
        let mut request = pb::UpdateUserRequest {
            user_id: user.user_id,
            ..pb::UpdateUserRequest::default()
        };
        break_request(&mut request);
        let refused = profile.update(request).await.expect_err(name);
        assert_eq!(refused, refusal(Code::InvalidArgument, name));
    }
    assert_eq!(profile.user(user.user_id).await.expect("found"), user);
}

#[tokio::test]
async fn only_an_admin_can_change_the_own_rating() {
    let profile = TestProfile::start().await;
    let user = profile.register("asha", "listener").await;
    let rate = |rating_hundredths| {
        profile.update(pb::UpdateUserRequest {
            user_id: user.user_id,
            rating_hundredths: Some(rating_hundredths),
            ..pb::UpdateUserRequest::default()
        })
    };
    assert_eq!(
        rate(500).await.expect_err("not an admin"),
        refusal(Code::PermissionDenied, "rating_not_allowed")
    );
    let (db, now) = (&profile.database.owner, profile.clock.now());
    let granted = grant_admin(db, &user.phone, "ravi", now).await;
    granted.expect("granted");
    let rated = rate(435).await.expect("an admin");
    assert_eq!(rated.rating_hundredths, Some(435));

    let revoked = revoke_admin(db, &user.phone, "ravi", now).await;
    revoked.expect("revoked");
    rate(435).await.expect("the present rating may come along");
    rate(434).await.expect_err("no admin any more");
}

#[tokio::test]
async fn one_of_twenty_updates_to_one_name_succeeds() {
    let profile = TestProfile::start().await;
    let mut ids = Vec::new();
    for number in 0..20 {
        let user = profile.register(&format!("someone{number}"), "user").await;
        ids.push(user.user_id);
    }
    let updates = ids.into_iter().map(|user_id| {
        profile.update(pb::UpdateUserRequest {
            user_id,
            username: Some("Asha".to_owned()),
            ..pb::UpdateUserRequest::default()
        })
    });
    let outcomes = join_all(updates).await;
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 19);
    let taken = refusal(Code::Aborted, "username_taken");
    assert!(refused.iter().all(|each| *each == taken), "{refused:?}");
}

#[tokio::test]
async fn concurrent_updates_of_one_user_are_all_stored_with_consecutive_versions() {
    let profile = TestProfile::start().await;
    let user = profile.register("asha", "user").await;
    let updates = (0..20).map(|number| {
        profile.update(pb::UpdateUserRequest {
            user_id: user.user_id,
            bio: Some(format!("Bio {number}")),
            ..pb::UpdateUserRequest::default()
        })
    });
    for update in join_all(updates).await {
        update.expect("updated");
    }
    let versions = profile.load_events(user.user_id).await.into_iter();
    let versions: Vec<i64> = versions.map(|event| event.version).collect();
    assert_eq!(versions, (1..=21).collect::<Vec<i64>>());
}

#[tokio::test]
async fn an_update_of_an_unknown_user_is_refused() {
    let profile = TestProfile::start().await;
    let update = pb::UpdateUserRequest {
        user_id: UNKNOWN_USER,
        ..pb::UpdateUserRequest::default()
    };
    assert_eq!(
        profile.update(update).await.expect_err("nobody"),
        refusal(Code::NotFound, "user_not_found")
    );
}
