//! NATS loses its storage, and the outboxes fill it again: the read models are the same afterwards, although
//! events were lost in between.

use std::collections::BTreeSet;
use std::future::ready;
use std::time::Duration;

use futures::StreamExt;
use sqlx::PgPool;
use talktime_proto::events::STREAM_NAME;
use talktime_tests::{
    CallPair, ExpectAnswer, SERVICES, WAIT_MAX, connect_nats, read_variable, run_dev, wait_for,
};
use tokio::time::timeout;

use crate::{lock_stack, republish_events};

/// Rows of the feed's read model that differ from their sources (presence, calls and verification), with the data
/// of the sources. Users whom only presence has deleted are left out: another test publishes such a deletion, which
/// profile does not know of.
const DIFFERING_ROWS: &str = "
    SELECT concat(feed, ' beside ', status, ' ', talked, ' ', standing)
    FROM profile.feed_listeners AS feed
    LEFT JOIN presence.user_status AS status USING (user_id)
    LEFT JOIN verification.standings AS standing USING (user_id)
    LEFT JOIN (
        SELECT listener_id AS user_id, count(*) AS calls, sum(duration_seconds) AS secs
        FROM calls.user_calls
        WHERE status IN ('completed', 'dropped') AND duration_seconds >= 1 GROUP BY listener_id
    ) AS talked USING (user_id)
    WHERE NOT EXISTS (SELECT FROM presence.deleted_users AS gone WHERE gone.user_id = feed.user_id)
      AND (feed.status_version <> COALESCE(status.version, 0)
       OR feed.is_online <> COALESCE(status.is_online, false)
       OR feed.is_busy <> COALESCE(status.is_busy, false)
       OR feed.accepting_calls <> COALESCE(status.accepting_calls, true)
       OR feed.call_count <> COALESCE(talked.calls, 0)
       OR feed.total_call_secs <> COALESCE(talked.secs, 0)
       OR feed.is_verified <> COALESCE(standing.is_verified, false))";

async fn count_rows(pool: &PgPool, query: &'static str) -> i64 {
    let counted = sqlx::query_scalar(query).fetch_one(pool).await;
    counted.expect("readable")
}

/// Lists the durable consumers of the stream, if there is a stream.
async fn list_consumers() -> BTreeSet<String> {
    let jetstream = async_nats::jetstream::new(connect_nats().await);
    match jetstream.get_stream(STREAM_NAME).await {
        Ok(stream) => {
            let names = stream
                .consumer_names()
                .filter_map(|name| async { name.ok() });
            names
                .filter(|name| ready(is_of_service(name)))
                .collect()
                .await
        }
        Err(_) => BTreeSet::new(),
    }
}

/// Whether a consumer belongs to a service, since other tests leave consumers of their own.
fn is_of_service(name: &str) -> bool {
    SERVICES
        .iter()
        .any(|service| name.starts_with(&format!("{service}-")))
}

async fn wait_until_published(pool: &PgPool) {
    const WAITING: &str = "
        SELECT (SELECT count(*) FROM presence.outbox WHERE published_at IS NULL)
             + (SELECT count(*) FROM calls.outbox WHERE published_at IS NULL)";
    wait_for("all events to be published", || async {
        (count_rows(pool, WAITING).await == 0).then_some(())
    })
    .await;
}

async fn list_differing_rows(pool: &PgPool) -> Vec<String> {
    let rows = sqlx::query_scalar(DIFFERING_ROWS).fetch_all(pool).await;
    rows.expect("readable")
}

/// Waits until the read model has caught up, for longer than a message stays with a consumer that an
/// earlier test killed.
async fn wait_until_equal(pool: &PgPool) {
    let agreed = timeout(2 * WAIT_MAX, async {
        while !list_differing_rows(pool).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let is_late = agreed.await.is_err();
    let differing = list_differing_rows(pool).await;
    assert!(!is_late, "the read model still differs: {differing:#?}");
}

#[tokio::test]
async fn a_wiped_stream_filled_from_the_outboxes_gives_the_same_read_models() {
    let _stack = lock_stack().await;
    let pool = PgPool::connect_lazy(&read_variable("DATABASE_URL")).expect("a valid url");
    let pair = CallPair::sign_up().await;
    let call_id = pair.start_call().await;
    // The call lasts long enough to be counted.
    wait_for("a second minute", || async {
        (pair.load_ongoing_call(&pair.caller).await["coins_spent"] == 20).then_some(())
    })
    .await;
    wait_until_equal(&pool).await;
    let consumers = list_consumers().await;
    assert!(consumers.len() > SERVICES.len(), "{consumers:?}");

    // Events that profile does not receive while it is down are only in the stream, which is lost.
    run_dev(&["stop", "profile"]).await;
    assert_eq!(pair.end_call(&pair.caller, call_id).await.status, 200);
    wait_until_published(&pool).await;
    run_dev(&["stop", "nats", "--wipe"]).await;
    run_dev(&["start", "nats"]).await;
    run_dev(&["start", "profile"]).await;
    assert!(
        !list_differing_rows(&pool).await.is_empty(),
        "nothing was lost"
    );

    republish_events().await;
    wait_until_equal(&pool).await;
    // The other services have noticed the new stream.
    wait_for("every consumer to be there again", || async {
        let again = self::list_consumers().await;
        consumers.is_subset(&again).then_some(())
    })
    .await;
    let letters = run_dev(&["run", "profile", "dead-letters", "list"]).await;
    assert_eq!(letters, "", "nothing was buried");
    let feed = pair.app.get("/feed/listeners").as_user(&pair.caller);
    assert_eq!(feed.answer().await.status, 200);
}
