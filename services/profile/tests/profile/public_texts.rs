//! Names and biographies that a deployment refuses.

use talktime_kit::Clock;
use talktime_kit::messaging::Relay;
use talktime_profile::domain::{ProfileError, PublicTextPolicy, ReservedNames, UserProfileUpdate};
use talktime_profile::users::UserService;

use crate::TestProfile;

/// The operations on users of a deployment that reserves a name and refuses contact details.
fn strict_users(profile: &TestProfile) -> UserService {
    let names = ReservedNames::with_names(["Sunshine Calls"]);
    UserService::new(
        profile.database.app.clone(),
        Relay::default(),
        Clock::System,
    )
    .apply_text_policy(PublicTextPolicy::new(names, true))
}

fn rename(username: &str) -> UserProfileUpdate {
    UserProfileUpdate {
        username: Some(username.to_owned()),
        ..UserProfileUpdate::default()
    }
}

fn describe(bio: &str) -> UserProfileUpdate {
    UserProfileUpdate {
        bio: Some(bio.to_owned()),
        ..UserProfileUpdate::default()
    }
}

#[tokio::test]
async fn names_of_the_deployment_are_reserved() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "user").await.user_id;
    let users = strict_users(&profile);
    for name in ["sunshine_calls", "Sunsh1ne_Ca11s", "support_7"] {
        let refused = users.update_user(asha, rename(name)).await;
        assert!(
            matches!(refused, Err(ProfileError::UsernameReserved)),
            "{name}"
        );
        let checked = users.check_username(name).await.expect("checked");
        assert!(
            !checked.is_available && checked.suggestions.is_empty(),
            "{name}"
        );
    }
}

#[tokio::test]
async fn contact_details_are_refused_where_the_operator_wants_it() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "user").await.user_id;
    let users = strict_users(&profile);
    let with_number = describe("call me on 98765 43210");
    for update in [
        with_number.clone(),
        describe("pay asha@okbank"),
        rename("asha_9876543210"),
    ] {
        let refused = users.update_user(asha, update).await;
        assert!(matches!(refused, Err(ProfileError::ContactDetails)));
    }
    let plain = UserService::new(
        profile.database.app.clone(),
        Relay::default(),
        Clock::System,
    );
    plain
        .update_user(asha, with_number.clone())
        .await
        .expect("no such policy");
    // Apps send back the whole profile; what was written before the policy does not lock it.
    users
        .update_user(asha, with_number)
        .await
        .expect("unchanged");
}
