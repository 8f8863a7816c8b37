//! The feed's read model is compared with its owners and mended, while it is read.

use std::time::Duration;

use talktime_profile::config::{FeedConfig, PeersConfig};
use talktime_profile::feed_check::{Checked, FeedCheck};
use talktime_profile::owners::Owners;

use crate::feed::{everyone, list};
use crate::feed_events::status;
use crate::{Profile, variable};

impl Profile {
    /// Compares with the services of the test's stack. Of people who are only here they say what they
    /// say of anyone whom they have never heard of.
    fn feed_check(&self) -> FeedCheck {
        let peers = PeersConfig {
            auth: variable("AUTH_GRPC_URL"),
            calls: variable("CALLS_GRPC_URL"),
            presence: variable("PRESENCE_GRPC_URL"),
            verification: variable("VERIFICATION_GRPC_URL"),
        };
        let owners = Owners::connect(&peers).expect("addresses");
        FeedCheck::new(self.database.app.clone(), owners, FeedConfig::default())
    }

    async fn spoil(&self, statement: &'static str) {
        let spoilt = sqlx::query(statement)
            .execute(&self.database.superuser)
            .await;
        spoilt.expect("spoilt");
    }
}

/// Above all ids that the stack's services have given.
const UNHEARD_OF: &str = "ALTER TABLE profile.users ALTER user_id RESTART WITH 8000000000";

#[tokio::test]
async fn a_rebuild_writes_what_the_owners_say() {
    let profile = Profile::start().await;
    profile.spoil(UNHEARD_OF).await;
    let asha = profile.register("asha", "listener").await.user_id;
    let meena = profile.register("meena", "listener").await.user_id;
    profile.register("ravi", "user").await;
    let check = profile.feed_check();
    let clean = Checked {
        listeners: 2,
        ..Checked::default()
    };
    assert_eq!(check.rebuild().await.expect("rebuilt"), clean);

    for statement in [
        "UPDATE profile.feed_listeners SET is_online = true, call_count = 3, total_call_secs = 9,
                                           is_verified = true WHERE user_id = 8000000000",
        "DELETE FROM profile.feed_listeners WHERE user_id = 8000000001",
        "INSERT INTO profile.feed_listeners (user_id) VALUES (8000000002)",
    ] {
        profile.spoil(statement).await;
    }
    let checked = check.rebuild().await.expect("rebuilt");
    let expected = Checked {
        listeners: 2,
        misplaced: 2,
        statuses: 1,
        totals: 1,
        standings: 1,
    };
    assert_eq!(checked, expected);
    let page = list(&profile, everyone(0)).await;
    let mut ids: Vec<i64> = page.listeners.iter().map(|l| l.user_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [asha, meena]);
    let is_as_new = |l: &talktime_proto::profile::v1::Listener| {
        !l.is_online && l.call_count == 0 && !l.is_verified
    };
    assert!(page.listeners.iter().all(is_as_new));
    assert_eq!(check.rebuild().await.expect("rebuilt"), clean);
}

#[tokio::test]
async fn what_is_newer_than_the_owners_answer_stays() {
    let profile = Profile::start().await;
    profile.spoil(UNHEARD_OF).await;
    let asha = profile.register("asha", "listener").await.user_id;
    profile.hear(7, status(asha, true, false)).await;
    // Presence, asked before it came to be, has said: never seen.
    let checked = profile.feed_check().rebuild().await.expect("rebuilt");
    assert_eq!(checked.statuses, 0);
    assert!(list(&profile, everyone(0)).await.listeners[0].is_online);
}

#[tokio::test]
async fn only_a_difference_that_stays_is_drift() {
    let profile = Profile::start().await;
    profile.spoil(UNHEARD_OF).await;
    let asha = profile.register("asha", "listener").await.user_id;
    profile
        .spoil("UPDATE profile.feed_listeners SET call_count = 3, total_call_secs = 9")
        .await;
    let check = profile.feed_check();
    // An event comes within the grace: the row has moved, and is left alone.
    let grace = Duration::from_secs(2);
    let look = check.look(grace);
    let event = async {
        tokio::time::sleep(grace / 2).await;
        profile.hear(1, status(asha, false, true)).await;
    };
    let (checked, ()) = tokio::join!(look, event);
    assert_eq!(checked.expect("compared").totals, 0);
    let checked = check.look(Duration::from_millis(1)).await;
    assert_eq!(checked.expect("compared").totals, 1);
}
