//! The statements on seats, and on what is known of minutes.

use sqlx::PgPool;
use talktime_calls::SCHEMA;
use talktime_calls::domain::evidence::{MediaQuality, MinuteVerdict, RefundReason};
use talktime_calls::domain::minute_shares::MinuteShare;
use talktime_calls::domain::relay::SeatRole;
use talktime_calls::domain::seats::{SeatPair, SeatState};
use talktime_calls::store::media_minutes::{self, RelayMinutes};
use talktime_calls::store::minute_verdicts;
use talktime_calls::store::relay_nodes::{self, RelayNode};
use talktime_calls::store::seats::{self, ClientTotals, NewSeat, RelayGrowth, SeatReport};
use talktime_kit::db::PgConnection;
use talktime_kit::testing::TestDatabase;

const CALL_ID: i64 = 42;

/// The seat inherits the figures of the previous one.
const INHERITS: bool = true;
/// The seat begins with no figures.
const INHERITS_NOTHING: bool = false;

async fn join(tx: &mut PgConnection, epoch: i32, session_id: &str, inherits: bool) {
    let new = NewSeat {
        call_id: CALL_ID,
        role: SeatRole::Caller,
        epoch,
        session_id,
        realms: vec!["relay-1".to_owned(), "relay-2".to_owned()],
        inherits,
    };
    seats::insert(tx, &new).await.expect("taken");
}

async fn present(tx: &mut PgConnection) -> SeatPair {
    seats::find_present(tx, CALL_ID).await.expect("read")
}

const CONNECTED: SeatReport = SeatReport {
    state: SeatState::Connected,
    totals: Some(ClientTotals {
        tx_packets: 100,
        rx_packets: 90,
        rx_lost: 1,
        rx_energy: 0.5,
        rtt_ms: 40,
    }),
};

#[tokio::test]
async fn a_session_that_joins_again_goes_on_with_its_connection_and_another_does_not() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut tx = database.app.begin().await.expect("begun");
    join(&mut tx, 1, "phone", INHERITS_NOTHING).await;
    let first = present(&mut tx).await.caller.expect("a seat");
    assert_eq!((first.state, first.connected_at), (SeatState::Joined, None));
    let reported = seats::record_report(&mut tx, &first, CONNECTED).await;
    let reported = reported.expect("stored").expect("the present seat");
    assert_eq!(
        (reported.state, reported.tx_packets),
        (SeatState::Connected, 100)
    );

    join(&mut tx, 2, "phone", INHERITS).await;
    let second = present(&mut tx).await.caller.expect("a seat");
    assert_eq!((second.epoch, second.state), (2, SeatState::Connected));
    assert_eq!(second.rx_packets, 90);
    let stale = seats::record_report(&mut tx, &first, CONNECTED).await;
    assert!(stale.expect("answered").is_none(), "the first seat is void");

    join(&mut tx, 3, "tablet", INHERITS_NOTHING).await;
    let third = present(&mut tx).await.caller.expect("a seat");
    assert_eq!((third.state, third.rx_packets), (SeatState::Joined, 0));
    let left = seats::record_left(&mut tx, &third).await.expect("answered");
    assert!(left.expect("the present seat").left_at.is_some());
    let again = seats::record_left(&mut tx, &third).await.expect("answered");
    assert!(again.is_none(), "a seat is given up once");
}

#[tokio::test]
async fn counts_of_a_relay_belong_to_the_present_seat_of_the_side() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut tx = database.app.begin().await.expect("begun");
    join(&mut tx, 1, "phone", INHERITS_NOTHING).await;
    join(&mut tx, 2, "phone", INHERITS).await;
    let grown = |in_packets, out_packets| RelayGrowth {
        call_id: CALL_ID,
        role: SeatRole::Caller,
        in_packets,
        out_packets,
    };
    // One of the allocations of a side carries the sound, and only later reports show which.
    let carrying = [grown(0, 0), grown(0, 2_048)];
    for (realm, growth, expected) in [
        ("relay-2", &[grown(0, 0)][..], "relay-2"),
        ("relay-1", &carrying, "relay-1"),
        ("relay-2", &[grown(0, 0)], "relay-1"),
    ] {
        let recorded = seats::record_relay_growth(&mut tx, realm, growth).await;
        recorded.expect("recorded");
        let seat = present(&mut tx).await.caller.expect("a seat");
        assert_eq!(seat.relay_realm.as_deref(), Some(expected));
    }
    let seat = present(&mut tx).await.caller.expect("a seat");
    assert!(seat.relay_in_grew_at.is_none() && seat.relay_out_grew_at.is_some());
}

#[tokio::test]
async fn seats_are_cut_once_at_each_of_their_relays() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut tx = database.app.begin().await.expect("begun");
    join(&mut tx, 1, "phone", INHERITS_NOTHING).await;
    let seat = present(&mut tx).await.caller.expect("a seat");
    let more = ["relay-2".to_owned(), "relay-3".to_owned()];
    seats::add_realms(&mut tx, &seat, &more)
        .await
        .expect("added");
    let uncut = seats::list_uncut(&mut tx, &[CALL_ID]).await.expect("read");
    let [uncut] = &uncut[..] else {
        panic!("one seat: {uncut:?}");
    };
    let mut realms = uncut.realms.clone();
    realms.sort();
    assert_eq!(realms, ["relay-1", "relay-2", "relay-3"]);
    seats::record_cut(&mut tx, &[CALL_ID])
        .await
        .expect("recorded");
    let uncut = seats::list_uncut(&mut tx, &[CALL_ID]).await.expect("read");
    assert!(uncut.is_empty(), "{uncut:?}");
}

#[tokio::test]
async fn reports_about_a_minute_add_up() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut tx = database.app.begin().await.expect("begun");
    join(&mut tx, 1, "phone", INHERITS_NOTHING).await;
    let seat = present(&mut tx).await.caller.expect("a seat");
    let growth = ClientTotals {
        tx_packets: 1_000,
        rx_packets: 500,
        ..ClientTotals::default()
    };
    let share = |minute, fraction| MinuteShare {
        minute,
        secs: 20.0 * fraction,
        fraction,
    };
    for shares in [vec![share(1, 1.0)], vec![share(1, 0.5), share(2, 0.5)]] {
        let added = media_minutes::add_client_report(&mut tx, &seat, growth, &shares).await;
        added.expect("added");
    }
    let counted = RelayMinutes {
        call_id: CALL_ID,
        role: SeatRole::Caller,
        minute: 1,
        secs: 17.0,
        in_packets: 850,
        out_packets: 840,
    };
    for _ in 0..2 {
        let added = media_minutes::add_relay_report(&mut tx, &[counted]).await;
        added.expect("added");
    }
    let mut known = media_minutes::list_of_call(&mut tx, CALL_ID)
        .await
        .expect("read");
    known.sort_by_key(|known| known.minute);
    let [first, second] = &known[..] else {
        panic!("two minutes: {known:?}");
    };
    assert_eq!(
        (first.side.client_tx_packets, first.side.client_rx_packets),
        (1_500, 750)
    );
    assert_eq!(
        (first.side.relay_in_packets, first.side.relay_out_packets),
        (Some(1_700), Some(1_680))
    );
    assert!(
        (first.side.relay_secs - 34.0).abs() < 0.1 && (first.side.client_secs - 30.0).abs() < 0.1
    );
    assert_eq!(
        (second.side.client_tx_packets, second.side.relay_in_packets),
        (500, None)
    );
}

#[tokio::test]
async fn the_first_decision_about_a_minute_holds() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut tx = database.app.begin().await.expect("begun");
    let verdict = |minute, refund| MinuteVerdict {
        minute,
        to_caller: MediaQuality::Dead,
        to_listener: MediaQuality::Good,
        refund,
    };
    let first = [
        verdict(1, Some(RefundReason::ListenerSilent)),
        verdict(2, None),
    ];
    let second = [verdict(1, None), verdict(2, Some(RefundReason::RelayLost))];
    for verdicts in [&first, &second] {
        let stored = minute_verdicts::insert(&mut tx, CALL_ID, verdicts).await;
        stored.expect("stored");
    }
    let stored = minute_verdicts::list_of_call(&mut tx, CALL_ID).await;
    assert_eq!(stored.expect("read"), first);
}

async fn count_rows(pool: &PgPool, table: &str) -> i64 {
    let statement = format!("SELECT count(*) FROM calls.{table}");
    let counted = sqlx::query_scalar(sqlx::AssertSqlSafe(statement));
    counted.fetch_one(pool).await.expect("counted")
}

#[tokio::test]
async fn old_seats_go_with_what_was_known_of_their_minutes() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut tx = database.app.begin().await.expect("begun");
    join(&mut tx, 1, "phone", INHERITS_NOTHING).await;
    let seat = present(&mut tx).await.caller.expect("a seat");
    let share = MinuteShare {
        minute: 1,
        secs: 10.0,
        fraction: 1.0,
    };
    let growth = ClientTotals::default();
    let added = media_minutes::add_client_report(&mut tx, &seat, growth, &[share]).await;
    added.expect("added");
    assert_eq!(
        seats::delete_old(&mut tx, 1, 10).await.expect("answered"),
        0
    );
    assert_eq!(
        seats::delete_old(&mut tx, 0, 10).await.expect("answered"),
        0
    );
    tx.commit().await.expect("committed");
    let mut tx = database.app.begin().await.expect("begun");
    assert_eq!(
        seats::delete_old(&mut tx, 0, 10).await.expect("answered"),
        1
    );
    tx.commit().await.expect("committed");
    for table in ["seats", "media_minutes"] {
        assert_eq!(count_rows(&database.app_pool, table).await, 0, "{table}");
    }
}

#[tokio::test]
async fn a_relay_is_silent_once_its_last_report_is_some_seconds_old() {
    let database = TestDatabase::new(SCHEMA).await;
    let mut tx = database.app.begin().await.expect("begun");
    let node = RelayNode {
        realm: "relay-1".to_owned(),
        urls: vec!["turn:relay-1:3478".to_owned()],
        is_draining: false,
    };
    relay_nodes::upsert(&mut tx, &node).await.expect("stored");
    let realms = ["relay-1".to_owned(), "unknown".to_owned()];
    for (within_secs, is_silent) in [(15.0, false), (0.0, true)] {
        let since = relay_nodes::find_silent_since(&mut tx, &realms, within_secs).await;
        assert_eq!(since.expect("read").is_some(), is_silent, "{within_secs}");
    }
}
