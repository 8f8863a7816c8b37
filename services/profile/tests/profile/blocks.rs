//! Checks whether a caller may call a listener.

use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::Request;

use crate::{TestProfile, UNKNOWN_USER, into_result};

async fn check(profile: &TestProfile, caller_id: i64, listener_id: i64) -> pb::CallCheck {
    let mut checks = check_all(profile, &[(caller_id, listener_id)]).await;
    checks.pop().expect("an answer for each")
}

async fn check_all(profile: &TestProfile, planned: &[(i64, i64)]) -> Vec<pb::CallCheck> {
    let calls = planned
        .iter()
        .map(|(caller_id, listener_id)| pb::PlannedCall {
            caller_id: *caller_id,
            listener_id: *listener_id,
        });
    let request = Request::new(pb::CheckCallsRequest {
        calls: calls.collect(),
    });
    let checked = into_result(profile.api.check_calls(request).await).expect("checked");
    checked.checks
}

#[tokio::test]
async fn a_user_may_call_a_listener() {
    let profile = TestProfile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let permitted = pb::CallCheck {
        listener_exists: true,
        is_listener: true,
        blocked: false,
        caller_username: "ravi".to_owned(),
        listener_username: "asha".to_owned(),
        verification_missing: false,
        audio_enabled: Some(true),
        video_enabled: Some(true),
        caller_image_url: Some("https://example.com/a.png".to_owned()),
        listener_image_url: Some("https://example.com/a.png".to_owned()),
        caller_rating_hundredths: None,
        listener_rating_hundredths: None,
    };
    assert_eq!(check(&profile, ravi, asha).await, permitted);
    let reverse = check(&profile, asha, ravi).await;
    assert!(reverse.listener_exists && !reverse.is_listener);
    let unknown = check(&profile, ravi, UNKNOWN_USER).await;
    assert!(!unknown.listener_exists && !unknown.is_listener);
    let pairs = [(ravi, UNKNOWN_USER), (asha, ravi), (ravi, asha)];
    assert_eq!(
        check_all(&profile, &pairs).await,
        [unknown, reverse, permitted]
    );
}

#[tokio::test]
async fn a_block_forbids_calls_in_both_directions() {
    let profile = TestProfile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let other = profile.register("meena", "listener").await.user_id;
    profile.block(asha, ravi).await;
    assert!(check(&profile, ravi, asha).await.blocked);
    assert!(check(&profile, asha, ravi).await.blocked);
    assert!(!check(&profile, ravi, other).await.blocked);
}
