//! Registrations of users.

use chrono::{DateTime, TimeDelta, Utc};
use futures::future::join_all;
use talktime_proto::events::v1::UserRegistered;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use talktime_proto::timestamp;
use tonic::{Code, Request};

use crate::{TestProfile, UNKNOWN_USER, into_result, refusal, registration};

#[tokio::test]
async fn a_registration_creates_a_user_with_the_requested_role() {
    let profile = TestProfile::start().await;
    let user = profile.register("asha", "listener").await;
    let now = Some(timestamp(profile.clock.now()));
    let expected = pb::User {
        user_id: user.user_id,
        phone: registration("asha", "listener").phone,
        username: "asha".to_owned(),
        sex: "female".to_owned(),
        dob: "1999-12-31".to_owned(),
        bio: Some("Hello".to_owned()),
        interests: vec!["music".to_owned()],
        profile_image_url: Some("https://example.com/a.png".to_owned()),
        preferred_language: "hi".to_owned(),
        rating_hundredths: None,
        country: None,
        roles: vec!["listener".to_owned()],
        terms_version: None,
        terms_accepted_at: None,
        created_at: now,
        updated_at: now,
    };
    assert_eq!(user, expected);
    assert_eq!(profile.user(user.user_id).await.expect("found"), expected);

    let request = pb::GetUserByPhoneRequest {
        phone: user.phone.clone(),
    };
    let by_phone = profile.api.get_user_by_phone(Request::new(request)).await;
    assert_eq!(into_result(by_phone).expect("found"), expected);

    let events = profile.load_events(user.user_id).await;
    let registered = Kind::UserRegistered(UserRegistered {
        user_id: user.user_id,
        username: "asha".to_owned(),
        role: "listener".to_owned(),
        ..UserRegistered::default()
    });
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].version, &events[0].kind), (1, &Some(registered)));
}

#[tokio::test]
async fn a_repeated_registration_returns_its_user() {
    let profile = TestProfile::start().await;
    let requests = (0..20).map(|_| profile.create(registration("asha", "user")));
    let users = join_all(requests).await;
    let first = users[0].as_ref().expect("registered").clone();
    for user in users {
        assert_eq!(user.expect("registered"), first);
    }
    assert_eq!(profile.load_events(first.user_id).await.len(), 1);

    let renamed = pb::UpdateUserRequest {
        user_id: first.user_id,
        username: Some("asha_rao".to_owned()),
        ..pb::UpdateUserRequest::default()
    };
    profile.update(renamed).await.expect("updated");
    let again = profile.create(registration("asha", "user")).await;
    assert_eq!(again.expect("the same user").username, "asha_rao");
}

#[tokio::test]
async fn one_of_twenty_registrations_with_one_name_succeeds() {
    let profile = TestProfile::start().await;
    let requests = (0..20).map(|number| {
        let mut request = registration(&format!("someone{number}"), "user");
        request.username = if number % 2 == 0 { "Asha" } else { "aSHA" }.to_owned();
        profile.create(request)
    });
    let taken = refusal(Code::Aborted, "username_taken");
    let outcomes = join_all(requests).await;
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 19);
    assert!(refused.iter().all(|each| *each == taken), "{refused:?}");
    assert_eq!(profile.count("SELECT count(*) FROM profile.users").await, 1);
    assert_eq!(
        profile.count("SELECT count(*) FROM profile.outbox").await,
        1
    );
}

#[tokio::test]
async fn one_of_twenty_registrations_with_one_phone_succeeds() {
    let profile = TestProfile::start().await;
    let requests = (0..20).map(|number| {
        let mut request = registration(&format!("someone{number}"), "user");
        request.phone = "+919876543210".to_owned();
        profile.create(request)
    });
    let taken = refusal(Code::Aborted, "phone_taken");
    let outcomes = join_all(requests).await;
    let refused: Vec<_> = outcomes.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused.len(), 19);
    assert!(refused.iter().all(|each| *each == taken), "{refused:?}");
}

#[tokio::test]
async fn one_registration_does_not_create_two_users() {
    let profile = TestProfile::start().await;
    profile.register("asha", "user").await;
    let mut with_other_name = registration("asha", "user");
    with_other_name.username = "ravi".to_owned();
    assert_eq!(
        profile
            .create(with_other_name)
            .await
            .expect_err("other content"),
        refusal(Code::Aborted, "phone_taken")
    );
    let mut with_foreign_id = registration("ravi", "user");
    with_foreign_id.registration_id = registration("asha", "user").registration_id;
    assert_eq!(
        profile
            .create(with_foreign_id)
            .await
            .expect_err("another's id"),
        refusal(Code::Aborted, "registration_reused")
    );
}

#[tokio::test]
async fn fields_that_break_a_rule_are_refused() {
    type RequestChange = fn(&mut pb::CreateUserRequest);
    let cases: [(&str, RequestChange); 13] = [
        ("invalid_terms_version", |r| {
            r.terms_version = Some("two words".to_owned());
        }),
        ("invalid_username", |r| r.username = "a b".to_owned()),
        ("invalid_phone", |r| r.phone = "98765".to_owned()),
        ("invalid_sex", |r| r.sex = "unknown".to_owned()),
        ("invalid_dob", |r| r.dob = "31.12.1999".to_owned()),
        ("under_age", |r| r.dob = "2020-01-01".to_owned()),
        ("invalid_role", |r| r.role = "admin".to_owned()),
        ("invalid_bio", |r| r.bio = Some("x".repeat(501))),
        ("invalid_interests", |r| {
            r.interests = vec!["x".to_owned(); 11];
        }),
        ("invalid_interests", |r| {
            r.interests = vec!["<b>".to_owned()];
        }),
        ("invalid_profile_image_url", |r| {
            r.profile_image_url = Some("ftp://x".to_owned());
        }),
        ("invalid_language", |r| {
            r.preferred_language = "!".to_owned();
        }),
        ("invalid_registration_id", |r| r.registration_id.clear()),
    ];
    let profile = TestProfile::start().await;
    for (name, break_request) in cases {
        let mut request = registration("asha", "user");
        break_request(&mut request);
        let refused = profile.create(request).await.expect_err(name);
        assert_eq!(refused, refusal(Code::InvalidArgument, name));
    }
    assert_eq!(profile.count("SELECT count(*) FROM profile.users").await, 0);
}

#[tokio::test]
async fn the_default_language_is_english() {
    let profile = TestProfile::start().await;
    let mut request = registration("asha", "user");
    request.preferred_language.clear();
    let user = profile.create(request).await.expect("registered");
    assert_eq!(user.preferred_language, "en");
}

#[tokio::test]
async fn unknown_users_are_not_found() {
    let profile = TestProfile::start().await;
    let not_found = refusal(Code::NotFound, "user_not_found");
    assert_eq!(
        profile.user(UNKNOWN_USER).await.expect_err("nobody"),
        not_found
    );
    let request = pb::GetUserByPhoneRequest {
        phone: "+919876543210".to_owned(),
    };
    let by_phone = profile.api.get_user_by_phone(Request::new(request)).await;
    assert_eq!(into_result(by_phone).expect_err("nobody"), not_found);
}

#[tokio::test]
async fn accounts_are_found_by_several_phones() {
    let profile = TestProfile::start().await;
    let (asha, ravi) = (
        profile.register("asha", "user").await,
        profile.register("ravi", "listener").await,
    );
    let nobody = "+919999999999".to_owned();
    let find_accounts = async |phones: Vec<String>| {
        let request = Request::new(pb::FindAccountsRequest { phones });
        into_result(profile.api.find_accounts(request).await)
    };
    let phones = vec![
        ravi.phone.clone(),
        nobody,
        asha.phone.clone(),
        asha.phone.clone(),
    ];
    let mut found = find_accounts(phones).await.expect("found").accounts;
    found.sort_by_key(|account| account.user_id);
    let expected = [asha, ravi].map(|user| pb::PhoneAccount {
        phone: user.phone,
        user_id: user.user_id,
        username: user.username,
    });
    assert_eq!(found, expected);

    for (phones, code) in [
        (vec!["98765".to_owned()], "invalid_phone"),
        (vec!["+919876543210".to_owned(); 201], "too_many_users"),
    ] {
        let refused = find_accounts(phones).await;
        assert_eq!(
            refused.expect_err(code),
            refusal(Code::InvalidArgument, code)
        );
    }
}

/// A day of India begins at 18:30 UTC of the day before.
#[tokio::test]
async fn the_age_of_eighteen_begins_at_midnight_in_india() {
    let profile = TestProfile::start().await;
    let eighteenth_birthday = "2027-06-01T00:00:00+05:30".parse::<DateTime<Utc>>();
    let midnight = eighteenth_birthday.expect("RFC 3339");
    let mut request = registration("asha", "user");
    request.dob = "2009-06-01".to_owned();
    let before = midnight - TimeDelta::seconds(1) - profile.clock.now();
    profile.clock.advance(before);
    assert_eq!(
        profile
            .create(request.clone())
            .await
            .expect_err("the day before"),
        refusal(Code::InvalidArgument, "under_age")
    );
    profile.advance_seconds(1);
    profile.create(request).await.expect("the birthday");
}
