//! Events of favourites and blocks.

use std::time::Duration;

use futures::future::join_all;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{FavoriteAdded, FavoriteRemoved, UserBlocked, UserUnblocked};
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Code, Request};

use crate::{TestProfile, UNKNOWN_USER, into_result, refusal};

/// Loads the events of a user after that of the registration.
async fn load_events(profile: &TestProfile, user_id: i64) -> Vec<Kind> {
    let events = profile.load_events(user_id).await.into_iter().skip(1);
    events.map(|event| event.kind.expect("a kind")).collect()
}

#[tokio::test]
async fn twenty_equal_favourites_at_once_publish_one_event() {
    let profile = TestProfile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let request = || {
        Request::new(pb::FavoriteRequest {
            user_id: ravi,
            listener_id: asha,
        })
    };
    for added in join_all((0..20).map(|_| profile.api.add_favorite(request()))).await {
        assert!(added.expect("added").into_inner().is_favorited);
    }
    for removed in join_all((0..20).map(|_| profile.api.remove_favorite(request()))).await {
        assert!(!removed.expect("removed").into_inner().is_favorited);
    }
    let (user_id, listener_id) = (ravi, asha);
    let username = || "ravi".to_owned();
    let added = FavoriteAdded {
        user_id,
        listener_id,
        username: username(),
    };
    let removed = FavoriteRemoved {
        user_id,
        listener_id,
        username: username(),
    };
    assert_eq!(
        load_events(&profile, ravi).await,
        [Kind::FavoriteAdded(added), Kind::FavoriteRemoved(removed)]
    );
}

#[tokio::test]
async fn events_of_favourites_have_no_name_while_either_has_blocked_the_other() {
    let profile = TestProfile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    for (number, listener_blocks) in [(1, true), (2, false)] {
        let name = format!("listener{number}");
        let listener_id = profile.register(&name, "listener").await.user_id;
        let (blocker, blocked) = if listener_blocks {
            (listener_id, ravi)
        } else {
            (ravi, listener_id)
        };
        let request = || {
            Request::new(pb::FavoriteRequest {
                user_id: ravi,
                listener_id,
            })
        };
        let added = profile.api.add_favorite(request()).await;
        added.expect("a favourite before the block");
        profile.block(blocker, blocked).await;
        let removed = profile.api.remove_favorite(request()).await;
        removed.expect("removed all the same");
        let removed = FavoriteRemoved {
            user_id: ravi,
            listener_id,
            username: String::new(),
        };
        let last = load_events(&profile, ravi).await.pop();
        assert_eq!(last, Some(Kind::FavoriteRemoved(removed)));
        let not_found = refusal(Code::NotFound, "listener_not_found");
        let again = into_result(profile.api.add_favorite(request()).await);
        assert_eq!(again.expect_err("blocked"), not_found);
        let checked = into_result(profile.api.check_favorite(request()).await);
        assert_eq!(checked.expect_err("blocked"), not_found);
    }
}

#[tokio::test]
async fn statuses_are_visible_of_listeners_and_favourites_and_of_nobody_blocked() {
    let profile = TestProfile::start().await;
    let viewer_id = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let user = profile.register("maya", "user").await.user_id;
    let blocker = profile.register("kiran", "listener").await.user_id;
    let blocked = profile.register("divya", "listener").await.user_id;
    let favorite = profile.register("meena", "listener").await.user_id;
    let former = profile.register("leela", "listener").await.user_id;
    let added = profile.api.add_favorite(Request::new(pb::FavoriteRequest {
        user_id: viewer_id,
        listener_id: favorite,
    }));
    added.await.expect("added");
    profile.revoke_listener_roles(&[favorite, former]).await;
    profile.block(blocker, viewer_id).await;
    profile.block(viewer_id, blocked).await;
    let request = Request::new(pb::FilterVisibleRequest {
        viewer_id,
        user_ids: vec![
            viewer_id,
            asha,
            user,
            favorite,
            former,
            blocker,
            blocked,
            UNKNOWN_USER,
        ],
    });
    let mut visible = into_result(profile.api.filter_visible(request).await).expect("filtered");
    visible.visible_user_ids.sort_unstable();
    visible.acquaintance_user_ids.sort_unstable();
    let expected = pb::FilterVisibleResponse {
        visible_user_ids: vec![viewer_id, asha, favorite],
        acquaintance_user_ids: vec![user, former],
    };
    assert_eq!(visible, expected);
    let request = Request::new(pb::FilterVisibleRequest {
        viewer_id,
        user_ids: vec![asha; 201],
    });
    let refused = into_result(profile.api.filter_visible(request).await);
    let too_many = refusal(Code::InvalidArgument, "too_many_users");
    assert_eq!(refused.expect_err("too many"), too_many);
}

#[tokio::test]
async fn twenty_equal_blocks_at_once_publish_one_event() {
    let profile = TestProfile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    let block = || {
        Request::new(pb::BlockUserRequest {
            user_id: asha,
            blocked_id: ravi,
            action_type: String::new(),
            reason: None,
        })
    };
    for blocked in join_all((0..20).map(|_| profile.api.block_user(block()))).await {
        assert!(blocked.expect("blocked").into_inner().is_blocked);
    }
    let (user_id, blocked_id) = (asha, ravi);
    let unblock = || {
        Request::new(pb::BlockRequest {
            user_id,
            blocked_id,
        })
    };
    for unblocked in join_all((0..20).map(|_| profile.api.unblock_user(unblock()))).await {
        assert!(!unblocked.expect("unblocked").into_inner().is_blocked);
    }
    let blocked = UserBlocked {
        user_id,
        blocked_id,
        action_type: "block".to_owned(),
    };
    let unblocked = UserUnblocked {
        user_id,
        blocked_id,
    };
    assert_eq!(
        load_events(&profile, asha).await,
        [Kind::UserBlocked(blocked), Kind::UserUnblocked(unblocked)]
    );
}

/// Counts the sessions of this database that wait for a lock.
const WAITING: &str = "SELECT count(*) FROM pg_stat_activity
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";

#[tokio::test]
async fn concurrent_changes_of_one_user_append_events_in_commit_order() {
    let profile = TestProfile::start().await;
    let ravi = profile.register("ravi", "user").await.user_id;
    let asha = profile.register("asha", "listener").await.user_id;
    // This transaction holds the lock that one with an event of the user would hold.
    let mut other = profile.database.app.begin().await.expect("connected");
    sqlx::query("UPDATE profile.users SET version = version + 1 WHERE user_id = $1")
        .bind(ravi)
        .execute(&mut *other)
        .await
        .expect("locked");
    let favorite = profile.api.add_favorite(Request::new(pb::FavoriteRequest {
        user_id: ravi,
        listener_id: asha,
    }));
    let block = profile.api.block_user(Request::new(pb::BlockUserRequest {
        user_id: ravi,
        blocked_id: asha,
        action_type: String::new(),
        reason: None,
    }));
    let both_wait = async {
        while profile.count(WAITING).await < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(
            load_events(&profile, ravi).await,
            [],
            "nothing is numbered yet"
        );
        other.commit().await.expect("committed");
    };
    let all = async { tokio::join!(favorite, block, both_wait) };
    let all = tokio::time::timeout(Duration::from_secs(10), all).await;
    let (favorite, block, ()) = all.expect("both wait for the other transaction");
    favorite.expect("added");
    block.expect("blocked");
    assert_eq!(load_events(&profile, ravi).await.len(), 2);
}
