//! The feed's read model is compared with its sources and repaired while it is read.

use std::time::Duration;

use talktime_kit::testing::stack_peers;
use talktime_profile::config::{FeedConfig, PeerAddressConfig};
use talktime_profile::domain::feed_row::FeedConsistencyReport;
use talktime_profile::jobs::feed_check::FeedConsistencyCheck;
use talktime_profile::peers::FeedSourceClients;
use talktime_proto::access::v1::Workload;

use crate::events::{BUSY, FREE, OFFLINE, ONLINE, status};
use crate::feed::{first_page, list_page};
use crate::{TestProfile, require_variable};

impl TestProfile {
    /// Compares with the services of the test's stack. Users of this database are unknown to them.
    fn feed_check(&self) -> FeedConsistencyCheck {
        let peers = PeerAddressConfig {
            auth: require_variable("AUTH_GRPC_URL"),
            calls: require_variable("CALLS_GRPC_URL"),
            presence: require_variable("PRESENCE_GRPC_URL"),
            verification: require_variable("VERIFICATION_GRPC_URL"),
        };
        let sources =
            FeedSourceClients::connect(&stack_peers(Workload::Profile), &peers).expect("addresses");
        FeedConsistencyCheck::new(self.database.app.clone(), sources, FeedConfig::default())
    }

    pub(crate) async fn execute(&self, statement: &'static str) {
        let executed = sqlx::query(statement)
            .execute(&self.database.superuser)
            .await;
        executed.expect("executed");
    }
}

/// Restarts the user ids above all those of the stack's services.
const RESTART_IDS: &str = "ALTER TABLE profile.users ALTER user_id RESTART WITH 8000000000";

#[tokio::test]
async fn a_rebuild_repairs_every_difference_from_the_sources() {
    let profile = TestProfile::start().await;
    profile.execute(RESTART_IDS).await;
    let asha = profile.register("asha", "listener").await.user_id;
    let meena = profile.register("meena", "listener").await.user_id;
    profile.register("ravi", "user").await;
    let check = profile.feed_check();
    let clean = FeedConsistencyReport {
        listeners: 2,
        ..FeedConsistencyReport::default()
    };
    assert_eq!(check.rebuild().await.expect("rebuilt"), clean);

    for statement in [
        "UPDATE profile.feed_listeners SET is_online = true, call_count = 3, total_call_secs = 9,
                                           is_verified = true, answer_percent = 75
         WHERE user_id = 8000000000",
        "DELETE FROM profile.feed_listeners WHERE user_id = 8000000001",
        "INSERT INTO profile.feed_listeners (user_id) VALUES (8000000002)",
    ] {
        profile.execute(statement).await;
    }
    let checked = check.rebuild().await.expect("rebuilt");
    let expected = FeedConsistencyReport {
        listeners: 2,
        misplaced: 2,
        statuses: 1,
        totals: 1,
        standings: 1,
        answer_rates: 1,
    };
    assert_eq!(checked, expected);
    let page = list_page(&profile, first_page(0)).await;
    let mut ids: Vec<i64> = page.listeners.iter().map(|l| l.user_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [asha, meena]);
    let is_unused_listener = |l: &talktime_proto::profile::v1::Listener| {
        !l.is_online && l.call_count == 0 && !l.is_verified && l.answer_percent.is_none()
    };
    assert!(page.listeners.iter().all(is_unused_listener));
    assert_eq!(check.rebuild().await.expect("rebuilt"), clean);
}

#[tokio::test]
async fn a_newer_status_than_that_of_the_source_stays() {
    let profile = TestProfile::start().await;
    profile.execute(RESTART_IDS).await;
    let asha = profile.register("asha", "listener").await.user_id;
    profile.apply_event(7, status(asha, ONLINE, FREE)).await;
    // Presence does not know the listener, and its answer is older than the event.
    let checked = profile.feed_check().rebuild().await.expect("rebuilt");
    assert_eq!(checked.statuses, 0);
    assert!(list_page(&profile, first_page(0)).await.listeners[0].is_online);
}

#[tokio::test]
async fn only_a_lasting_difference_is_repaired() {
    let profile = TestProfile::start().await;
    profile.execute(RESTART_IDS).await;
    let asha = profile.register("asha", "listener").await.user_id;
    profile
        .execute("UPDATE profile.feed_listeners SET call_count = 3, total_call_secs = 9")
        .await;
    let check = profile.feed_check();
    // An event arrives within the grace period: the row has changed and is left as it is.
    let grace = Duration::from_secs(2);
    let comparison = check.run_once(grace);
    let event = async {
        tokio::time::sleep(grace / 2).await;
        profile.apply_event(1, status(asha, OFFLINE, BUSY)).await;
    };
    let (checked, ()) = tokio::join!(comparison, event);
    assert_eq!(checked.expect("compared").totals, 0);
    let checked = check.run_once(Duration::from_millis(1)).await;
    assert_eq!(checked.expect("compared").totals, 1);
}
