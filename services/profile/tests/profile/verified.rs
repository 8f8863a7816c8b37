//! If the operator requires it, only verified listeners are in the feed and can be called.

use std::collections::HashMap;
use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::messaging::Relay;
use talktime_profile::domain::PlannedParties;
use talktime_profile::domain::feed::{
    FeedFilter, FeedOrder, FeedPageQuery, FeedPageStart, FeedSortKey,
};
use talktime_profile::feed::FeedService;
use talktime_profile::users::UserService;
use talktime_proto::events::v1::VerificationReviewed;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Code, Request};

use crate::{TestProfile, UNKNOWN_USER};

#[tokio::test]
async fn unverified_listeners_are_hidden_and_cannot_be_called() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    profile.register("meena", "listener").await;
    let reviewed = VerificationReviewed {
        user_id: asha,
        is_verified: true,
        ..VerificationReviewed::default()
    };
    profile
        .apply_event(1, Kind::VerificationReviewed(reviewed))
        .await;
    let db = &profile.database.app;
    let query = FeedPageQuery {
        viewer_id: 0,
        filter: FeedFilter::default(),
        order: FeedOrder {
            sort: FeedSortKey::Recent,
            is_ascending: true,
        },
        start: FeedPageStart::Page(1),
        per_page: 20,
    };
    for (require, listed, total) in [(true, 1, 1), (false, 2, 2)] {
        let feed =
            FeedService::new(db.clone(), Clock::System, Duration::ZERO).require_verified(require);
        let page = feed.load_page(&query).await.expect("a page");
        assert_eq!(page.listeners.len(), listed);
        assert_eq!(page.counts.total, total);
        let users = UserService::new(db.clone(), Relay::default(), Clock::System);
        let users = users.require_verified(require);
        for (listener_id, is_missing) in [(asha, false), (asha + 1, require), (UNKNOWN_USER, false)]
        {
            let planned = PlannedParties {
                caller_id: UNKNOWN_USER,
                listener_id,
            };
            let checks = users.check_calls(&[planned]).await;
            let check = &checks.expect("checked")[0];
            assert_eq!(check.is_verification_missing, is_missing, "{listener_id}");
        }
    }
}

#[tokio::test]
async fn usernames_are_listed_in_batches_of_bounded_size() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await;
    let names = |user_ids| {
        profile
            .api
            .get_usernames(Request::new(pb::GetUsernamesRequest { user_ids }))
    };
    let found = names(vec![asha.user_id, UNKNOWN_USER])
        .await
        .expect("names")
        .into_inner();
    assert_eq!(
        found.usernames,
        HashMap::from([(asha.user_id, asha.username)])
    );
    let refused = names(vec![1; 201]).await.expect_err("too many");
    assert_eq!(refused.code(), Code::InvalidArgument);
}
