//! Admins are made and unmade by operators, and that is told.

use talktime_profile::people::{grant_admin, revoke_admin};
use talktime_proto::events::v1::RoleChanged;
use talktime_proto::events::v1::event::Kind;

use crate::Profile;

#[tokio::test]
async fn an_operator_makes_and_unmakes_an_admin_and_each_is_told_once() {
    let profile = Profile::start().await;
    let user = profile.register("asha", "user").await;
    let (db, now) = (&profile.database.app, profile.clock.now());
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
    let told = profile.told(user.user_id).await.into_iter().skip(1);
    let told: Vec<_> = told.map(|event| (event.version, event.kind)).collect();
    assert_eq!(told, [(2, changed(true)), (3, changed(false))]);
}

#[tokio::test]
async fn nobody_is_made_an_admin_of_an_unknown_phone() {
    let profile = Profile::start().await;
    let (db, now) = (&profile.database.app, profile.clock.now());
    let unknown = "+910000000000";
    assert!(grant_admin(db, unknown, "ravi", now).await.is_err());
    assert!(revoke_admin(db, unknown, "ravi", now).await.is_err());
}
