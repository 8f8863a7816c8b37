//! A listener's rating follows what callers say, whatever order it comes in.

use talktime_kit::messaging::Handler as _;
use talktime_profile::events::RatingEvents;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallRated, Event};

use crate::{NOBODY, Profile};

async fn hear(profile: &Profile, listener_id: i64, stars_total: i64, ratings_total: i64) {
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
    RatingEvents.handle(&mut tx, event).await.expect("handled");
    tx.commit().await.expect("committed");
}

#[tokio::test]
async fn the_newest_mean_stays() {
    let profile = Profile::start().await;
    let asha = profile.register("asha", "listener").await.user_id;
    for (stars_total, ratings_total, shown) in [(5, 1, 500), (14, 3, 467), (9, 2, 467)] {
        hear(&profile, asha, stars_total, ratings_total).await;
        let user = profile.user(asha).await.expect("found");
        assert_eq!(user.rating_hundredths, Some(shown));
    }
    hear(&profile, NOBODY, 5, 1).await;
}
