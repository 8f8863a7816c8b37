//! Calls metered by the relays: apps that say nothing are metered, and silent minutes go back to the caller.

use serde_json::json;
use sqlx::PgPool;
use talktime_kit::Clock;
use talktime_proto::access::v1::Workload;
use talktime_proto::calls::v1::relay_service_client::RelayServiceClient;
use talktime_proto::calls::v1::{RelayAllocation, ReportRelayRequest};
use talktime_proto::timestamp;
use talktime_tests::{assert_books_are_right, connect_as, read_database_url, wait_for};
use tonic::transport::Channel;

use super::{COINS, MediaCall, PRICE, next_error, next_of, report};

/// The agent of a relay that takes no calls, so that those of other tests are not sent to it.
struct TestAgent {
    relays: RelayServiceClient<Channel>,
    /// An allocation that begins with the test.
    allocation: RelayAllocation,
}

impl TestAgent {
    fn connect() -> Self {
        Self::connect_for("1")
    }

    /// Connects the agent of a relay with an allocation of this number.
    fn connect_for(allocation: &str) -> Self {
        let channel = connect_as(Workload::RelayAgent, Workload::Calls);
        Self {
            relays: RelayServiceClient::new(channel),
            allocation: RelayAllocation {
                allocation: allocation.to_owned(),
                began_at: Some(timestamp(Clock::System.now())),
                ..RelayAllocation::default()
            },
        }
    }

    /// Reports the last totals of both seats, once the relays were told to cut them.
    async fn report_cut(&mut self, call_id: i64, caller: (i64, i64), listener: (i64, i64)) {
        wait_for_cut(call_id).await;
        self.allocation.ended_at = Some(timestamp(Clock::System.now()));
        self.report(call_id, 1_000, caller, listener).await;
    }

    fn count(&self, seat: &str, seq: i64, (sent, received): (i64, i64)) -> RelayAllocation {
        RelayAllocation {
            username: format!("1900000000:{seat}"),
            seq,
            in_packets: sent,
            out_packets: received,
            ..self.allocation.clone()
        }
    }

    /// Reports what both seats have sent and received; returns the names of those that are to be cut.
    async fn report(
        &mut self,
        call_id: i64,
        seq: i64,
        caller: (i64, i64),
        listener: (i64, i64),
    ) -> Vec<String> {
        let allocations = vec![
            self.count(&format!("{call_id}.caller.1"), seq, caller),
            self.count(&format!("{call_id}.listener.1"), seq, listener),
        ];
        let request = ReportRelayRequest {
            realm: "contract.test".to_owned(),
            urls: vec!["turn:contract.test:3478".to_owned()],
            is_draining: true,
            allocations,
        };
        let reported = self.relays.report_relay(request).await;
        reported.expect("stored").into_inner().ended_usernames
    }
}

async fn wait_for_cut(call_id: i64) {
    let url = read_database_url("calls");
    let calls = PgPool::connect(&url).await.expect("connected");
    wait_for("all seats to be cut", || async {
        let are_cut: bool = sqlx::query_scalar(
            "SELECT bool_and(cut_at IS NOT NULL) FROM calls.seats WHERE call_id = $1",
        )
        .bind(call_id)
        .fetch_one(&calls)
        .await
        .expect("answered");
        are_cut.then_some(())
    })
    .await;
}

#[tokio::test]
async fn apps_that_say_nothing_are_metered_by_the_relay() {
    let (mut call, ..) = MediaCall::joined().await;
    let call_id = call.call_id;
    let mut agent = TestAgent::connect();
    agent.report(call_id, 1, (0, 299), (299, 0)).await;
    assert_eq!(call.state().await["status"], "connecting");
    // The caller sends nothing, and pays for what arrives.
    agent.report(call_id, 2, (0, 300), (300, 0)).await;
    let started = next_of(&mut call.caller_socket, "call_started", call_id).await;
    assert_eq!(started["remaining_coins"], COINS - PRICE, "{started}");
    assert_eq!(call.state().await["status"], "ongoing");
    let ended = call.pair.end_call(&call.pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let uncut = agent.report(call_id, 3, (0, 301), (301, 0)).await;
    assert_eq!(uncut.len(), 2, "both seats outlive their call: {uncut:?}");
}

#[tokio::test]
async fn a_call_that_is_hung_up_before_anybody_reports_is_paid_if_media_flowed() {
    let (call, ..) = MediaCall::joined().await;
    let mut agent = TestAgent::connect();
    agent.report(call.call_id, 1, (0, 900), (900, 0)).await;
    let ended = call.pair.end_call(&call.pair.caller, call.call_id).await;
    assert_eq!(
        (ended.status, &ended.body["status"]),
        (200, &json!("completed")),
        "{ended:?}"
    );
    assert!(call.pair.load_coins().await < COINS);
    assert_books_are_right().await;
}

/// The first sign of traffic that the relay has published is older than most of the talk.
#[tokio::test]
async fn a_hang_up_counts_what_flowed_since_the_last_report_of_the_relay() {
    let (call, ..) = MediaCall::joined().await;
    let mut agent = TestAgent::connect();
    agent.report(call.call_id, 1, (0, 10), (10, 0)).await;
    let (ended, ()) = tokio::join!(
        call.pair.end_call(&call.pair.caller, call.call_id),
        agent.report_cut(call.call_id, (0, 900), (900, 0)),
    );
    assert_eq!(
        (ended.status, &ended.body["status"]),
        (200, &json!("completed")),
        "{ended:?}"
    );
    call.assert_paid(&ended.body, 1).await;
}

#[tokio::test]
async fn a_call_whose_apps_never_say_that_they_are_connected_is_paid_if_media_flowed() {
    let (mut call, ..) = MediaCall::joined().await;
    let call_id = call.call_id;
    let (mut agent, mut unused) = (TestAgent::connect(), TestAgent::connect_for("2"));
    agent.report(call_id, 1, (0, 10), (10, 0)).await;
    unused.report(call_id, 1, (0, 0), (0, 0)).await;
    // The time to connect is over.
    agent.report_cut(call_id, (0, 900), (900, 0)).await;
    next_of(&mut call.caller_socket, "call_started", call_id).await;
    // The end of an allocation that carried nothing says nothing about the sound.
    unused.report_cut(call_id, (0, 0), (0, 0)).await;
    let ended = next_of(&mut call.caller_socket, "call_ended", call_id).await;
    assert_eq!(
        (&ended["end_reason"], &ended["ended_by"]),
        (&json!("media_lost"), &json!("server")),
        "{ended}"
    );
    let receipt = call.receipt().await;
    call.assert_paid(&receipt, 1).await;
}

#[tokio::test]
async fn a_call_is_over_for_apps_and_relays_when_the_coins_are_used_up() {
    let (mut call, caller, _) = MediaCall::live().await;
    let call_id = call.call_id;
    let mut agent = TestAgent::connect();
    agent.report(call_id, 1, (100, 100), (100, 100)).await;
    next_of(&mut call.caller_socket, "call_billing", call_id).await;
    call.pair.spend_coins_except(PRICE).await;
    for socket in [&mut call.caller_socket, &mut call.listener_socket] {
        let ended = next_of(socket, "call_ended", call_id).await;
        assert_eq!(
            (&ended["end_reason"], &ended["ended_by"]),
            (&json!("coins_empty"), &json!("server")),
            "{ended}"
        );
    }
    assert_eq!(call.pair.load_coins().await, 0);
    let receipt = call.receipt().await;
    let minutes = receipt["duration_minutes"].as_i64().expect("minutes");
    assert!(minutes >= 3, "{receipt}");
    assert_eq!(receipt["coins_spent"], PRICE * minutes, "{receipt}");

    report(&mut call.caller_socket, call_id, caller, "connected").await;
    assert_eq!(next_error(&mut call.caller_socket).await, "NOT_IN_CALL");
    let uncut = agent.report(call_id, 2, (101, 101), (101, 101)).await;
    assert_eq!(uncut.len(), 2, "both seats outlive their call: {uncut:?}");
    assert_books_are_right().await;
}

#[tokio::test]
async fn a_repeated_total_is_no_evidence_of_silence() {
    let mut agent = TestAgent::connect();
    let (mut call, ..) = MediaCall::live().await;
    let call_id = call.call_id;
    agent.report(call_id, 1, (0, 0), (0, 0)).await;
    next_of(&mut call.caller_socket, "call_billing", call_id).await;
    // The relay has published nothing since, although both talk.
    agent.report(call_id, 2, (0, 0), (0, 0)).await;
    agent.report(call_id, 3, (150, 150), (150, 150)).await;
    let ended = call.pair.end_call(&call.pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let receipt = call.receipt().await;
    let first = &receipt["minutes"][0];
    assert_eq!(
        (&first["media"], &first["refunded"]),
        (&json!("good"), &json!(false)),
        "{receipt}"
    );
}

#[tokio::test]
async fn a_minute_in_which_the_listener_was_silent_goes_back_to_the_caller() {
    let mut agent = TestAgent::connect();
    let (mut call, ..) = MediaCall::live().await;
    let call_id = call.call_id;
    // The second minute has begun, so the first is over.
    next_of(&mut call.caller_socket, "call_billing", call_id).await;
    agent.report(call_id, 1, (300, 0), (0, 300)).await;
    let ended = call.pair.end_call(&call.pair.caller, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let receipt = call.receipt().await;
    let minutes = receipt["minutes"].as_array().expect("minutes");
    assert_eq!(
        (&minutes[0]["media"], &minutes[0]["refunded"]),
        (&json!("dead"), &json!(true)),
        "{receipt}"
    );
    let is_kept = |minute: &&serde_json::Value| minute["refunded"] == false;
    let kept = i64::try_from(minutes.iter().filter(is_kept).count()).expect("a few");
    assert_eq!(receipt["coins_spent"], PRICE * kept, "{receipt}");
    // A rupee for each minute with sound.
    assert_eq!(receipt["listener_money_earned"], kept, "{receipt}");
    wait_for("the coins to be back", || async {
        (call.pair.load_coins().await == COINS - PRICE * kept).then_some(())
    })
    .await;
    assert_books_are_right().await;
}
