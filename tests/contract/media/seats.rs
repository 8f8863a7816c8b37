//! Seats: the parties that may take one, takeovers, and the messages about both.

use serde_json::{Value, json};
use talktime_client::UserRole;
use talktime_tests::{CallPair, WAIT_MAX};

use super::{MediaCall, join, join_by_rest, next_error, next_of, next_state, report, send, start};
use crate::sockets::open;
use crate::{assert_fields, assert_problem};

/// Asserts that the names of relay credentials reveal nothing about users.
fn assert_ice_servers(joined: &Value, seat: &str) {
    let servers = joined["ice_servers"].as_array().expect("relays");
    assert!((1..=2).contains(&servers.len()), "{joined}");
    for server in servers {
        let urls = server["urls"].as_array().expect("addresses");
        let is_relay_address =
            |url: &Value| url.as_str().is_some_and(|url| url.starts_with("turn"));
        assert!(
            !urls.is_empty() && urls.iter().all(is_relay_address),
            "{server}"
        );
        assert!(server["expires_at"].is_string(), "{server}");
        assert!(
            server["credential"]
                .as_str()
                .is_some_and(|text| text.len() == 28),
            "{server}"
        );
        let username = server["username"].as_str().expect("a name");
        let (expiry, name) = username.split_once(':').expect("an expiry");
        assert!(expiry.parse::<i64>().is_ok(), "{username}");
        assert_eq!(name, seat);
    }
}

#[tokio::test]
async fn both_take_their_seats_and_hear_of_each_other() {
    let mut call = MediaCall::ring().await;
    let call_id = call.call_id;
    let accepted = call.accept().await;
    assert_eq!(accepted.status, 200, "{accepted:?}");
    // The device that accepts has its seat with the answer.
    let by_accept = &accepted.body["join"];
    assert_eq!(by_accept["epoch"], 1, "{accepted:?}");
    assert_ice_servers(by_accept, &format!("{call_id}.listener.1"));

    let caller = join(&mut call.caller_socket, call_id).await;
    assert_fields(
        &caller,
        &["ice_servers", "report_every_secs", "connect_deadline"],
    );
    assert_eq!(
        (&caller["role"], &caller["polite"], &caller["epoch"]),
        (&json!("caller"), &json!(false), &json!(1)),
        "{caller}"
    );
    assert_eq!(
        (&caller["engine"], &caller["ice_transport_policy"]),
        (&json!("turn"), &json!("relay")),
        "{caller}"
    );
    assert_eq!(caller["peer_joined"], true, "{caller}");
    assert_ice_servers(&caller, &format!("{call_id}.caller.1"));

    let listener = join(&mut call.listener_socket, call_id).await;
    assert_eq!(
        (&listener["role"], &listener["polite"], &listener["epoch"]),
        (&json!("listener"), &json!(true), &json!(2)),
        "{listener}"
    );
    let message = next_of(&mut call.caller_socket, "peer_joined", call_id).await;
    assert_eq!(message["peer_epoch"], 2, "{message}");

    let leave = json!({"call_id": call_id, "epoch": 2});
    send(&mut call.listener_socket, "leave", leave.clone()).await;
    let message = next_of(&mut call.caller_socket, "peer_left", call_id).await;
    assert_eq!(message["peer_epoch"], 2, "{message}");
    send(&mut call.listener_socket, "leave", leave).await;
    assert_eq!(next_error(&mut call.listener_socket).await, "STALE_EPOCH");
}

#[tokio::test]
async fn new_credentials_belong_to_the_same_seat() {
    let (mut call, epoch, _) = MediaCall::joined().await;
    let call_id = call.call_id;
    let seat = json!({"call_id": call_id, "epoch": epoch});
    send(&mut call.caller_socket, "refresh", seat).await;
    let refreshed = next_of(&mut call.caller_socket, "joined", call_id).await;
    assert_eq!(refreshed["epoch"], epoch, "{refreshed}");
    assert_ice_servers(&refreshed, &format!("{call_id}.caller.{epoch}"));
    let stale = json!({"call_id": call_id, "epoch": epoch - 1});
    send(&mut call.caller_socket, "refresh", stale).await;
    assert_eq!(next_error(&mut call.caller_socket).await, "STALE_EPOCH");
}

#[tokio::test]
async fn another_device_takes_the_seat_over_only_if_it_says_so() {
    let (mut call, caller_epoch, listener_epoch) = MediaCall::live().await;
    let call_id = call.call_id;
    let tablet = call.pair.app.log_in_again(&call.pair.listener).await;
    let (mut tablet_socket, _) = open(&call.pair.app, "/ws/calls", &tablet).await;
    send(&mut tablet_socket, "join", json!({"call_id": call_id})).await;
    assert_eq!(next_error(&mut tablet_socket).await, "SEAT_TAKEN");
    let refused = join_by_rest(&call.pair.app, &tablet, call_id, &json!({})).await;
    assert_problem(&refused, 409, "seat_taken");

    let take_over = json!({"call_id": call_id, "take_over": true});
    send(&mut tablet_socket, "join", take_over).await;
    let joined = next_of(&mut tablet_socket, "joined", call_id).await;
    assert_eq!(joined["epoch"], listener_epoch + 1, "{joined}");
    assert_eq!(joined.get("connect_deadline"), None, "{joined}");
    next_of(&mut call.listener_socket, "seat_taken", call_id).await;
    let is_expected = |message: &Value| {
        message["type"] == "peer_joined" && message["data"]["peer_epoch"] == listener_epoch + 1
    };
    let received = call
        .caller_socket
        .receive_matching("peer_joined", WAIT_MAX, is_expected);
    received.await.expect("the new seat");

    // The first device has no seat any more, whatever it says.
    let signal = json!({"call_id": call_id, "epoch": listener_epoch, "candidates": []});
    send(&mut call.listener_socket, "signal", signal).await;
    assert_eq!(next_error(&mut call.listener_socket).await, "NOT_IN_CALL");
    let stale = json!({"call_id": call_id, "epoch": listener_epoch, "state": "failed"});
    send(&mut call.listener_socket, "media", stale).await;
    assert_eq!(next_error(&mut call.listener_socket).await, "STALE_EPOCH");
    report(&mut call.caller_socket, call_id, caller_epoch, "connected").await;
    next_state(&mut call.caller_socket, call_id, "connected").await;
}

#[tokio::test]
async fn nobody_else_takes_a_seat() {
    let mut call = MediaCall::accepted().await;
    let call_id = call.call_id;
    let stranger = call.pair.app.sign_up(UserRole::User).await;
    let refused = join_by_rest(&call.pair.app, &stranger, call_id, &json!({})).await;
    assert_problem(&refused, 403, "not_a_party");
    let unknown = join_by_rest(&call.pair.app, &stranger, i64::from(i32::MAX), &json!({})).await;
    assert_problem(&unknown, 404, "call_not_found");
    let (mut socket, _) = open(&call.pair.app, "/ws/calls", &stranger).await;
    for (r#type, data) in [
        ("join", json!({"call_id": call_id, "take_over": true})),
        (
            "signal",
            json!({"call_id": call_id, "epoch": 1, "candidates": []}),
        ),
        (
            "media",
            json!({"call_id": call_id, "epoch": 1, "state": "connected"}),
        ),
        ("refresh", json!({"call_id": call_id, "epoch": 1})),
        ("leave", json!({"call_id": call_id, "epoch": 1})),
    ] {
        send(&mut socket, r#type, data).await;
        assert_eq!(next_error(&mut socket).await, "NOT_IN_CALL", "{type}");
    }
    // Invalid data is refused before the calls service gets a request.
    for (r#type, data) in [
        ("join", json!({})),
        (
            "media",
            json!({"call_id": call_id, "epoch": 1, "state": "gone"}),
        ),
        ("refresh", json!({"call_id": call_id})),
    ] {
        send(&mut call.caller_socket, r#type, data).await;
        let code = next_error(&mut call.caller_socket).await;
        assert_eq!(code, "INVALID_MESSAGE", "{type}");
    }
}

#[tokio::test]
async fn a_call_has_seats_only_while_the_platform_carries_it() {
    let mut call = MediaCall::ring().await;
    let call_id = call.call_id;
    let (caller, app) = (&call.pair.caller, &call.pair.app);
    let early = join_by_rest(app, caller, call_id, &json!({})).await;
    assert_problem(&early, 409, "not_in_call");
    assert_eq!(call.accept().await.status, 200);
    let joined = join_by_rest(app, caller, call_id, &json!({"take_over": false})).await;
    assert_eq!(joined.status, 200, "{joined:?}");
    assert_eq!(joined.body["role"], "caller", "{joined:?}");
    let ended = call.pair.end_call(caller, call_id).await;
    assert_eq!(
        (ended.status, &ended.body["status"]),
        (200, &json!("cancelled"))
    );
    let late = join_by_rest(app, caller, call_id, &json!({})).await;
    assert_problem(&late, 409, "not_in_call");

    let own = start(&call.pair, &json!({"media": "own"})).await;
    assert_eq!(own.status, 200, "{own:?}");
    let own_id = own.body["call_id"].as_i64().expect("an id");
    let refused = join_by_rest(app, caller, own_id, &json!({})).await;
    assert_problem(&refused, 409, "media_not_platform");
    send(&mut call.caller_socket, "join", json!({"call_id": own_id})).await;
    assert_eq!(
        next_error(&mut call.caller_socket).await,
        "MEDIA_NOT_PLATFORM"
    );
}

#[tokio::test]
async fn the_platform_carries_only_calls_that_ring() {
    let pair = CallPair::sign_up().await;
    let refused = start(&pair, &json!({"media": "platform"})).await;
    assert_problem(&refused, 400, "media_needs_ring");
    let unknown = start(&pair, &json!({"ring": true, "media": "carrier pigeon"})).await;
    assert_problem(&unknown, 400, "invalid_media");
}
