//! Favourites and blocks: what is told of them, and how their lists are read.

use futures::future::join_all;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{FavoriteAdded, FavoriteRemoved, UserBlocked, UserUnblocked};
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::Request;

use crate::Profile;

/// What was told of a user after their registration.
async fn told(profile: &Profile, user_id: i64) -> Vec<Kind> {
    let events = profile.told(user_id).await.into_iter().skip(1);
    events.map(|event| event.kind.expect("a kind")).collect()
}

#[tokio::test]
async fn twenty_favourites_at_once_are_told_once() {
    let profile = Profile::start().await;
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
    let added = FavoriteAdded {
        user_id,
        listener_id,
    };
    let removed = FavoriteRemoved {
        user_id,
        listener_id,
    };
    assert_eq!(
        told(&profile, ravi).await,
        [Kind::FavoriteAdded(added), Kind::FavoriteRemoved(removed)]
    );
}

#[tokio::test]
async fn twenty_blocks_at_once_are_told_once() {
    let profile = Profile::start().await;
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
        told(&profile, asha).await,
        [Kind::UserBlocked(blocked), Kind::UserUnblocked(unblocked)]
    );
}
