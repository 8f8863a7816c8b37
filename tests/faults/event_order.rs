//! Sockets get the events of one call in their order, while NATS pauses and two replicas publish.

use std::time::Duration;

use async_nats::jetstream::{self, stream::Stream};
use prost::Message as _;
use serde_json::Value;
use talktime_client::AppSocket;
use talktime_proto::events::STREAM_NAME;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;
use talktime_tests::replica::start_calls_replica;
use talktime_tests::{CallPair, WAIT_MAX, connect_nats, run_dev};
use tokio::process::Command;

use crate::lock_stack;

const ROUNDS: usize = 12;
const PAUSE: Duration = Duration::from_secs(2);

async fn read_nats_pid() -> String {
    let variables = run_dev(&["env"]).await;
    let pid = variables
        .lines()
        .find_map(|line| line.strip_prefix("NATS_PID="));
    pid.expect("NATS runs").to_owned()
}

async fn send_signal(pid: &str, signal: &str) {
    let sent = Command::new("kill").args([signal, pid]).status().await;
    assert!(sent.expect("kill runs").success());
}

async fn stream() -> Stream {
    let jetstream = jetstream::new(connect_nats().await);
    jetstream.get_stream(STREAM_NAME).await.expect("it exists")
}

async fn last_sequence(stream: &Stream) -> u64 {
    stream
        .get_info()
        .await
        .expect("answered")
        .state
        .last_sequence
}

/// Reads the events of a call from the stream after `sequence`, in their order.
async fn read_call_events(stream: &Stream, sequence: u64, call_id: i64) -> Vec<&'static str> {
    let mut published = Vec::new();
    for sequence in sequence + 1..=last_sequence(stream).await {
        let message = stream.get_raw_message(sequence).await.expect("stored");
        let event = Event::decode(message.payload).expect("an event");
        match event.kind {
            Some(Kind::CallStarted(call)) if call.call_id == call_id => {
                published.push("call_started");
            }
            Some(Kind::CallEnded(call)) if call.call_id == call_id => published.push("call_ended"),
            _ => {}
        }
    }
    published
}

/// Receives the messages about a call up to its end, without those about minutes.
async fn receive_call_messages(socket: &mut AppSocket, call_id: i64) -> Vec<Value> {
    let mut messages = Vec::new();
    loop {
        let is_edge_of_call = |message: &Value| {
            let is_edge = ["call_started", "call_ended"]
                .iter()
                .any(|edge| message["type"] == *edge);
            is_edge && message["data"]["call_id"] == call_id
        };
        let message = socket
            .receive_matching(
                "the start or the end of the call",
                WAIT_MAX,
                is_edge_of_call,
            )
            .await;
        messages.push(message.expect("the message arrives")["type"].clone());
        if messages.len() == 2 {
            return messages;
        }
    }
}

#[tokio::test]
async fn every_socket_gets_the_start_before_the_end_although_nats_pauses() {
    let _stack = lock_stack().await;
    let mut replica = start_calls_replica().await;
    let pid = read_nats_pid().await;
    let stream = stream().await;
    let mut wrong = Vec::new();
    for round in 1..=ROUNDS {
        let pair = CallPair::sign_up().await;
        let mut of_caller = pair.app.open_socket("/ws/calls", &pair.caller).await;
        let mut of_listener = pair.app.open_socket("/ws/calls", &pair.listener).await;
        let before = last_sequence(&stream).await;
        send_signal(&pid, "-STOP").await;
        let ended = async {
            let call_id = pair.start_call().await;
            // The relay of the replica that has started the call waits for NATS meanwhile. The end may reach the other
            // one, which wakes a second relay.
            tokio::time::sleep(PAUSE / 2).await;
            let ended = pair.end_call(&pair.caller, call_id).await;
            assert_eq!(ended.status, 200, "{ended:?}");
            call_id
        };
        let (call_id, ()) = tokio::join!(ended, tokio::time::sleep(PAUSE));
        send_signal(&pid, "-CONT").await;
        for socket in [&mut of_caller, &mut of_listener] {
            let received = receive_call_messages(socket, call_id).await;
            if received != ["call_started", "call_ended"] {
                wrong.push(format!("round {round}: a socket heard {received:?}"));
            }
        }
        let published = read_call_events(&stream, before, call_id).await;
        if published != ["call_started", "call_ended"] {
            wrong.push(format!("round {round}: the stream has {published:?}"));
        }
    }
    replica.kill().await.expect("killed");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
