//! Whether one may call the other.

use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::Request;

use crate::{NOBODY, Profile, answer};

async fn check(profile: &Profile, caller_id: i64, listener_id: i64) -> pb::CheckCallResponse {
    let request = pb::CheckCallRequest {
        caller_id,
        listener_id,
    };
    answer(profile.api.check_call(Request::new(request)).await).expect("checked")
}

#[tokio::test]
async fn a_user_may_call_a_listener() {
    let profile = Profile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let both = pb::CheckCallResponse {
        listener_exists: true,
        is_listener: true,
        blocked: false,
        caller_username: "ravi".to_owned(),
        listener_username: "asha".to_owned(),
        verification_missing: false,
    };
    assert_eq!(check(&profile, ravi, asha).await, both);
    let back = check(&profile, asha, ravi).await;
    assert!(back.listener_exists && !back.is_listener);
    let nobody = check(&profile, ravi, NOBODY).await;
    assert!(!nobody.listener_exists && !nobody.is_listener);
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
