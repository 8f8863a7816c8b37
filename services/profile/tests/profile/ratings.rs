//! A listener's rating follows events of calls in any order.

use talktime_kit::messaging::EventHandler as _;
use talktime_profile::consumers::RatingEventHandler;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallRated, Event};

use crate::{TestProfile, UNKNOWN_USER};

async fn apply_event(
    profile: &TestProfile,
    listener_id: i64,
    stars_total: i64,
    ratings_total: i64,
) {
    let rated = CallRated {
        listener_id,
        stars_total,
        ratings_total,
        ..CallRated::default()
    };
    let event = Event {
        version: ratings_total,
        kind: Some(Kind::CallRated(rated)),
        ..Event::default()
    };
    let mut tx = profile.database.app.begin().await.expect("connected");
    RatingEventHandler
        .handle(&mut tx, event)
        .await
        .expect("handled");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn an_older_mean_does_not_replace_a_newer_one() {
    let profile = TestProfile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    for (stars_total, ratings_total, shown) in [(5, 1, 500), (14, 3, 467), (9, 2, 467)] {
        apply_event(&profile, asha, stars_total, ratings_total).await;
        let user = profile.user(asha).await.expect("found");
        assert_eq!(user.rating_hundredths, Some(shown));
    }
    apply_event(&profile, UNKNOWN_USER, 5, 1).await;
}
