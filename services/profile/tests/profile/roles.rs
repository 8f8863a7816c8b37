//! Operators grant and revoke the role admin.

use talktime_profile::admin_roles::{grant_admin, revoke_admin};
use talktime_proto::events::v1::RoleChanged;
use talktime_proto::events::v1::event::Kind;

use crate::TestProfile;

#[tokio::test]
async fn an_operator_grants_and_revokes_the_role_admin_with_one_event_each() {
    let profile = TestProfile::start().await;
    let user = profile.register("asha", "user").await;
    let (db, now) = (&profile.database.owner, profile.clock.now());
    for _ in 0..2 {
        let granted = grant_admin(db, &user.phone, "ravi", now).await;
        granted.expect("granted");
    }
    let admin = profile.user(user.user_id).await.expect("found");
    assert_eq!(admin.roles, ["admin", "user"]);
    for _ in 0..2 {
        let revoked = revoke_admin(db, &user.phone, "ravi", now).await;
        revoked.expect("revoked");
    }
    let user = profile.user(user.user_id).await.expect("found");
    assert_eq!(user.roles, ["user"]);

    let changed = |active| {
        Some(Kind::RoleChanged(RoleChanged {
            user_id: user.user_id,
            role: "admin".to_owned(),
            active,
            operator: "ravi".to_owned(),
        }))
    };
    let events = profile.load_events(user.user_id).await.into_iter().skip(1);
    let events: Vec<_> = events.map(|event| (event.version, event.kind)).collect();
    assert_eq!(events, [(2, changed(true)), (3, changed(false))]);
}

#[tokio::test]
async fn the_role_admin_of_an_unknown_phone_is_refused() {
    let profile = TestProfile::start().await;
    let (db, now) = (&profile.database.owner, profile.clock.now());
    let unknown = "+910000000000";
    assert!(grant_admin(db, unknown, "ravi", now).await.is_err());
    assert!(revoke_admin(db, unknown, "ravi", now).await.is_err());
}
