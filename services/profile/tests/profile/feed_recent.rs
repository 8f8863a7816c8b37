//! The feed in the order in which listeners were seen.

use chrono::DateTime;
use talktime_proto::events::v1::StatusChanged;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::v1 as pb;
use talktime_proto::timestamp;
use tonic::Code;

use crate::feed::{ask, everyone, list, names};
use crate::{Profile, refusal};

/// Registers a listener whom presence has seen at this second of 2026, if at all.
async fn register_seen(profile: &Profile, name: &str, second: Option<i64>) {
    let user_id = profile.register(name, "listener").await.user_id;
    if let Some(second) = second {
        let last_seen = DateTime::from_timestamp(1_767_225_600 + second, 5_000).expect("valid");
        let seen = Kind::StatusChanged(StatusChanged {
            user_id,
            is_online: true,
            last_seen: Some(timestamp(last_seen)),
            ..StatusChanged::default()
        });
        profile.hear(1, seen).await;
    }
}

#[tokio::test]
async fn the_most_recent_listener_is_who_was_seen_last() {
    let profile = Profile::start().await;
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
            ..everyone(0)
        };
        let first = list(&profile, request.clone()).await;
        let by_cursor = pb::ListListenersRequest {
            cursor: first.next_cursor.clone(),
            ..request.clone()
        };
        let by_number = pb::ListListenersRequest { page: 2, ..request };
        for second in [by_cursor, by_number] {
            let second = list(&profile, second).await;
            assert_eq!([names(&first), names(&second)].concat(), expected);
        }
        expected.reverse();
    }
    // A cursor of the order by registration that an older replica has given.
    let old = pb::ListListenersRequest {
        sort_by: pb::ListenerSort::Recent.into(),
        cursor: Some(format!("6e{:032x}", 7)),
        ..everyone(0)
    };
    let refused = ask(&profile, old).await.expect_err("an unknown cursor");
    assert_eq!(refused, refusal(Code::InvalidArgument, "invalid_cursor"));
}
