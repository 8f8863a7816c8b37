//! The feed in the order of the last signs of life.

use chrono::DateTime;
use talktime_proto::events::v1::StatusChanged;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::v1 as pb;
use talktime_proto::timestamp;
use tonic::Code;

use crate::feed::{first_page, list_page, try_list_page, usernames_of};
use crate::{TestProfile, refusal};

/// Registers a listener whose last sign of life was at this second of 2026, or who has none.
async fn register_seen(profile: &TestProfile, name: &str, second: Option<i64>) {
    let user_id = profile.register(name, "listener").await.user_id;
    if let Some(second) = second {
        let last_seen = DateTime::from_timestamp(1_767_225_600 + second, 5_000).expect("valid");
        let seen = Kind::StatusChanged(StatusChanged {
            user_id,
            is_online: true,
            last_seen: Some(timestamp(last_seen)),
            ..StatusChanged::default()
        });
        profile.apply_event(1, seen).await;
    }
}

#[tokio::test]
async fn the_order_recent_starts_with_the_last_sign_of_life() {
    let profile = TestProfile::start().await;
    for (name, second) in [
        ("third", Some(10)),
        ("first", Some(30)),
        ("never", None),
        ("second", Some(20)),
    ] {
        register_seen(&profile, name, second).await;
    }
    let mut expected = ["first", "second", "third", "never"];
    for ascending in [false, true] {
        let request = pb::ListListenersRequest {
            per_page: 2,
            sort_by: pb::ListenerSort::Recent.into(),
            ascending,
            ..first_page(0)
        };
        let first = list_page(&profile, request.clone()).await;
        let by_cursor = pb::ListListenersRequest {
            cursor: first.next_cursor.clone(),
            ..request.clone()
        };
        let by_number = pb::ListListenersRequest { page: 2, ..request };
        for second in [by_cursor, by_number] {
            let second = list_page(&profile, second).await;
            assert_eq!(
                [usernames_of(&first), usernames_of(&second)].concat(),
                expected
            );
        }
        expected.reverse();
    }
    // This cursor belongs to the order by registration, and was issued by an older replica.
    let old = pb::ListListenersRequest {
        sort_by: pb::ListenerSort::Recent.into(),
        cursor: Some(format!("6e{:032x}", 7)),
        ..first_page(0)
    };
    let refused = try_list_page(&profile, old)
        .await
        .expect_err("an unknown cursor");
    assert_eq!(refused, refusal(Code::InvalidArgument, "invalid_cursor"));
}
