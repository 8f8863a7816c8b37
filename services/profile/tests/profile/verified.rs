//! Where an operator requires it, only verified listeners are shown and may be called.

use std::collections::HashMap;
use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::messaging::Relay;
use talktime_profile::domain::feed::{FeedFilter, FeedQuery, Order, Sort, Start};
use talktime_profile::feed::Feed;
use talktime_profile::people::People;
use talktime_proto::events::v1::VerificationReviewed;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::v1 as pb;
use talktime_proto::profile::v1::profile_service_server::ProfileService;
use tonic::{Code, Request};

use crate::{NOBODY, Profile};

#[tokio::test]
async fn the_unverified_are_hidden_and_not_called() {
    let profile = Profile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    profile.register("meena", "listener").await;
    let reviewed = VerificationReviewed {
        user_id: asha,
        is_verified: true,
        ..VerificationReviewed::default()
    };
    profile.hear(1, Kind::VerificationReviewed(reviewed)).await;
    let db = &profile.database.app;
    let query = FeedQuery {
        viewer_id: 0,
        filter: FeedFilter::default(),
        order: Order {
            sort: Sort::Recent,
            is_ascending: true,
        },
        start: Start::Page(1),
        per_page: 20,
    };
    for (require, shown, total) in [(true, 1, 1), (false, 2, 2)] {
        let feed = Feed::new(db.clone(), Clock::System, Duration::ZERO).require_verified(require);
        let page = feed.page(&query).await.expect("a page");
        assert_eq!(page.listeners.len(), shown);
        assert_eq!(page.counts.total, total);
        let people = People::new(db.clone(), Relay::default(), Clock::System);
        let people = people.require_verified(require);
        for (listener_id, is_missing) in [(asha, false), (asha + 1, require), (NOBODY, false)] {
            let checks = people.check_calls(&[(NOBODY, listener_id)]).await;
            let check = &checks.expect("checked")[0];
            assert_eq!(check.is_verification_missing, is_missing, "{listener_id}");
        }
    }
}

#[tokio::test]
async fn names_come_in_one_batch_of_bounded_size() {
    let profile = Profile::start().await;
    let asha = profile.register("asha", "listener").await;
    let names = |user_ids| {
        profile
            .api
            .get_usernames(Request::new(pb::GetUsernamesRequest { user_ids }))
    };
    let found = names(vec![asha.user_id, NOBODY])
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
