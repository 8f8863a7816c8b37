//! Signals between the two apps of a call.

use std::time::Duration;

use serde_json::{Value, json};
use talktime_client::AppSocket;
use talktime_tests::{WAIT_MAX, wait_for};

use super::{MediaCall, join, next_error, next_of, send};

const RELAY: &str =
    "candidate:1 1 udp 41885439 203.0.113.9 50000 typ relay raddr 198.51.100.4 rport 7";
const HOST: &str = "candidate:2 1 udp 2122260223 192.168.1.7 61665 typ host";

fn candidate(text: &str) -> Value {
    json!({"candidate": text, "sdpMid": "0", "sdpMLineIndex": 0})
}

async fn signal(socket: &mut AppSocket, call_id: i64, epoch: i64, body: Value) {
    let mut data = json!({"call_id": call_id, "epoch": epoch});
    for (name, value) in body.as_object().expect("a body") {
        data[name] = value.clone();
    }
    send(socket, "signal", data).await;
}

fn offer(sdp: &str) -> Value {
    json!({"description": {"type": "offer", "sdp": sdp}})
}

#[tokio::test]
async fn signals_reach_the_other_party_without_addresses_of_devices() {
    let (mut call, caller_epoch, listener_epoch) = MediaCall::joined().await;
    let call_id = call.call_id;
    let sdp = format!("v=0\r\nc=IN IP4 192.168.1.7\r\na=mid:0\r\na={HOST}\r\na={RELAY}\r\n");
    signal(&mut call.caller_socket, call_id, caller_epoch, offer(&sdp)).await;
    let received = next_of(&mut call.listener_socket, "signal", call_id).await;
    assert_eq!(received["from_epoch"], caller_epoch, "{received}");
    assert_eq!(received["description"]["type"], "offer", "{received}");
    assert_eq!(
        received["description"]["sdp"],
        "v=0\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=candidate:1 1 udp 41885439 203.0.113.9 50000 \
         typ relay raddr 0.0.0.0 rport 0\r\n",
        "{received}"
    );
    assert_eq!(received.get("candidates"), None, "{received}");

    // A candidate of the device is not even announced.
    let host_only = json!({"candidates": [candidate(HOST)]});
    signal(
        &mut call.listener_socket,
        call_id,
        listener_epoch,
        host_only,
    )
    .await;
    let both = json!({"candidates": [candidate(HOST), candidate(RELAY), candidate("")]});
    signal(&mut call.listener_socket, call_id, listener_epoch, both).await;
    let received = next_of(&mut call.caller_socket, "signal", call_id).await;
    let candidates = received["candidates"].as_array().expect("candidates");
    assert_eq!(candidates.len(), 2, "{received}");
    assert_eq!(
        candidates[0]["candidate"],
        "candidate:1 1 udp 41885439 203.0.113.9 50000 typ relay raddr 0.0.0.0 rport 0"
    );
    assert_eq!(candidates[1]["candidate"], "");
    assert_eq!(candidates[1]["sdpMid"], "0");
}

#[tokio::test]
async fn signals_of_both_parties_pass_each_other() {
    const SIGNALS: usize = 10;
    let (mut call, caller, listener) = MediaCall::joined().await;
    let call_id = call.call_id;
    for _ in 0..SIGNALS {
        signal(&mut call.caller_socket, call_id, caller, offer("v=0\r\n")).await;
        signal(
            &mut call.listener_socket,
            call_id,
            listener,
            offer("v=0\r\n"),
        )
        .await;
    }
    let is_answer = |message: &Value| message["type"] == "signal" || message["type"] == "error";
    for socket in [&mut call.caller_socket, &mut call.listener_socket] {
        for _ in 0..SIGNALS {
            let heard = socket.receive_matching("signal", WAIT_MAX, is_answer).await;
            let heard = heard.expect("a signal");
            assert_eq!(heard["type"], "signal", "{heard}");
        }
    }
}

#[tokio::test]
async fn a_party_without_a_seat_is_away() {
    let mut call = MediaCall::accepted().await;
    let call_id = call.call_id;
    let epoch = join(&mut call.caller_socket, call_id).await["epoch"]
        .as_i64()
        .expect("an epoch");
    signal(&mut call.caller_socket, call_id, epoch, offer("v=0\r\n")).await;
    assert_eq!(next_error(&mut call.caller_socket).await, "PEER_AWAY");
    let joined = join(&mut call.listener_socket, call_id).await;
    signal(&mut call.caller_socket, call_id, epoch, offer("v=0\r\n")).await;
    next_of(&mut call.listener_socket, "signal", call_id).await;
    let leave = json!({"call_id": call_id, "epoch": joined["epoch"]});
    send(&mut call.listener_socket, "leave", leave).await;
    next_of(&mut call.caller_socket, "peer_left", call_id).await;
    signal(&mut call.caller_socket, call_id, epoch, offer("v=0\r\n")).await;
    assert_eq!(next_error(&mut call.caller_socket).await, "PEER_AWAY");
}

#[tokio::test]
async fn nothing_is_passed_on_after_the_call() {
    let (mut call, caller_epoch, _) = MediaCall::live().await;
    let call_id = call.call_id;
    let ended = call.pair.end_call(&call.pair.listener, call_id).await;
    assert_eq!(ended.status, 200, "{ended:?}");
    next_of(&mut call.caller_socket, "call_ended", call_id).await;
    let socket = tokio::sync::Mutex::new(&mut call.caller_socket);
    wait_for("the seat to be closed", || async {
        let mut socket = socket.lock().await;
        signal(*socket, call_id, caller_epoch, offer("v=0\r\n")).await;
        send(*socket, "ping", json!({})).await;
        let next = socket.receive_next(WAIT_MAX).await;
        let next = next.expect("an answer");
        (next["data"]["code"] == "NOT_IN_CALL").then_some(())
    })
    .await;
}

#[tokio::test]
async fn signals_are_limited_in_size_and_number() {
    let (mut call, caller_epoch, _) = MediaCall::joined().await;
    let call_id = call.call_id;
    let too_long = offer(&"a".repeat(32 * 1024 + 1));
    let too_many = json!({"candidates": vec![candidate(RELAY); 21]});
    for bad in [too_long, too_many, json!({}), json!({"candidates": "none"})] {
        signal(&mut call.caller_socket, call_id, caller_epoch, bad).await;
        assert_eq!(next_error(&mut call.caller_socket).await, "BAD_SIGNAL");
    }
    // Slower than the thirty messages a second that the socket takes, so that only the limit of signals refuses.
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..60 {
        pace.tick().await;
        signal(
            &mut call.caller_socket,
            call_id,
            caller_epoch,
            offer("v=0\r\n"),
        )
        .await;
    }
    assert_eq!(next_error(&mut call.caller_socket).await, "SIGNAL_LIMIT");
}
