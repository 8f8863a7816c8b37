//! Whether one may call the other.

use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::Request;

use crate::{NOBODY, Profile, answer};

async fn check(profile: &Profile, caller_id: i64, listener_id: i64) -> pb::CallCheck {
    let mut checks = check_all(profile, &[(caller_id, listener_id)]).await;
    checks.pop().expect("an answer for each")
}

async fn check_all(profile: &Profile, planned: &[(i64, i64)]) -> Vec<pb::CallCheck> {
    let calls = planned
        .iter()
        .map(|(caller_id, listener_id)| pb::PlannedCall {
            caller_id: *caller_id,
            listener_id: *listener_id,
        });
    let request = Request::new(pb::CheckCallsRequest {
        calls: calls.collect(),
    });
    let checked = answer(profile.api.check_calls(request).await).expect("checked");
    checked.checks
}

#[tokio::test]
async fn a_user_may_call_a_listener() {
    let profile = Profile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let both = pb::CallCheck {
        listener_exists: true,
        is_listener: true,
        blocked: false,
        caller_username: "ravi".to_owned(),
        listener_username: "asha".to_owned(),
        verification_missing: false,
        ..pb::CallCheck::default()
    };
    assert_eq!(check(&profile, ravi, asha).await, both);
    let back = check(&profile, asha, ravi).await;
    assert!(back.listener_exists && !back.is_listener);
    let nobody = check(&profile, ravi, NOBODY).await;
    assert!(!nobody.listener_exists && !nobody.is_listener);
    let asked = [(ravi, NOBODY), (asha, ravi), (ravi, asha)];
    assert_eq!(check_all(&profile, &asked).await, [nobody, back, both]);
}

#[tokio::test]
async fn a_block_holds_both_ways() {
    let profile = Profile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let other = profile.register("meena", "listener").await.user_id;
    profile.block(asha, ravi).await;
    assert!(check(&profile, ravi, asha).await.blocked);
    assert!(check(&profile, asha, ravi).await.blocked);
    assert!(!check(&profile, ravi, other).await.blocked);
}
