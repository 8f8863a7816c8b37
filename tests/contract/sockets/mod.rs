//! The WebSocket contract, through one gateway and through two.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use talktime_client::{App, Person, Role, Socket};
use talktime_tests::replica::{second_auth, second_gateway};
use talktime_tests::{Answered, Pair, TestApp, WAIT_MAX, app, wait_for};
use tokio::time::MissedTickBehavior;

const PATHS: [&str; 4] = ["/ws/feed", "/ws/presence", "/ws/calls", "/ws/notifications"];
/// Within it a socket whose token ends is closed.
const ONE_SECOND: Duration = Duration::from_secs(1);
/// Runners of tests are slow at times; the gateway itself has a second.
const CLOSED_WITHIN: Duration = Duration::from_secs(3);

/// A socket that has said hello; and the hello.
pub(crate) async fn open(gateway: &App, path: &str, person: &Person) -> (Socket, Value) {
    let opened = gateway.socket(path, person).await;
    let mut socket = opened.expect("the socket opens");
    let hello = socket.next(WAIT_MAX).await.expect("a first message");
    assert_eq!(hello["type"], "hello", "{hello}");
    (socket, hello)
}

/// The next message of this type about this person.
async fn about(socket: &mut Socket, r#type: &str, user_id: i64) -> Value {
    let is_it =
        |message: &Value| message["type"] == r#type && message["data"]["user_id"] == user_id;
    let heard = socket.next_where(r#type, WAIT_MAX, is_it).await;
    heard.expect("a message about them")
}

async fn set_status(app: &TestApp, person: &Person, status: Value) {
    let put = app.put("/users/me/status").of(person).json(&status);
    assert_eq!(put.answer().await.status, 200);
}

/// A change that everybody hears, for sockets that are to have heard nothing before it.
async fn mark(app: &TestApp, person: &Person, wait_time: i64) {
    set_status(app, person, json!({"wait_time": wait_time})).await;
}

#[tokio::test]
async fn a_call_shows_on_the_presence_socket_of_everyone() {
    let pair = Pair::meet().await;
    let watcher = pair.app.sign_up(Role::User).await;
    let (mut socket, hello) = open(&pair.app, "/ws/presence", &watcher).await;
    assert!(hello["data"]["epoch"].is_string(), "{hello}");
    assert_eq!(hello["data"]["seq"], hello["seq"], "{hello}");

    let call_id = pair.must_call().await;
    let is_busy = |busy: bool| {
        let user_id = pair.listener.user_id;
        move |message: &Value| {
            message["type"] == "status_change"
                && message["data"]["user_id"] == user_id
                && message["data"]["is_busy"] == busy
        }
    };
    let busy = socket.next_where("busy", WAIT_MAX, is_busy(true)).await;
    let busy = busy.expect("busy");
    for field in [
        "username",
        "is_online",
        "wait_time",
        "last_seen",
        "is_available",
    ] {
        assert!(busy["data"].get(field).is_some(), "{field}: {busy}");
    }
    let timestamp = busy["timestamp"].as_str().expect("a timestamp");
    assert!(timestamp.ends_with('Z'), "{busy}");
    assert!(busy["seq"].as_u64() > hello["seq"].as_u64());
    assert_eq!(pair.end(&pair.caller, call_id).await.status, 200);
    let free = socket.next_where("free", WAIT_MAX, is_busy(false)).await;
    assert!(free.expect("free")["seq"].as_u64() > busy["seq"].as_u64());
}

#[tokio::test]
async fn the_feed_socket_tells_of_listeners_as_they_come_and_go() {
    let app = app().await;
    let watcher = app.sign_up(Role::User).await;
    let (mut socket, _) = open(&app, "/ws/feed", &watcher).await;
    let person = app.sign_up(Role::User).await;
    let listener = app.sign_up(Role::Listener).await;
    let id = listener.user_id;
    let online = about(&mut socket, "listener_online", id).await;
    assert_eq!(online["data"]["is_available"], true);
    set_status(&app, &person, json!({"is_busy": true})).await;
    set_status(&app, &listener, json!({"is_busy": true})).await;
    let first = socket.next_where("of either", WAIT_MAX, |message| {
        let about = &message["data"]["user_id"];
        *about == id || *about == person.user_id
    });
    let busy = first.await.expect("a message");
    assert_eq!(busy["type"], "listener_busy", "{busy}");
    assert_eq!(busy["data"]["user_id"], id);
    set_status(&app, &listener, json!({"is_busy": false})).await;
    about(&mut socket, "listener_available", id).await;
    set_status(&app, &listener, json!({"is_online": false})).await;
    let offline = about(&mut socket, "listener_offline", id).await;
    assert_eq!(offline["data"]["is_available"], false);
}

#[tokio::test]
async fn the_calls_socket_tells_the_two_parties_and_nobody_else() {
    let pair = Pair::meet().await;
    let other = pair.app.sign_up(Role::User).await;
    let (mut of_caller, _) = open(&pair.app, "/ws/calls", &pair.caller).await;
    let (mut of_listener, _) = open(&pair.app, "/ws/calls", &pair.listener).await;
    let (mut of_other, _) = open(&pair.app, "/ws/calls", &other).await;
    let call_id = pair.must_call().await;
    let next = |r#type: &'static str| {
        move |message: &Value| message["type"] == r#type && message["data"]["call_id"] == call_id
    };
    for (socket, is_caller) in [(&mut of_caller, true), (&mut of_listener, false)] {
        let started = socket.next_where("a start", WAIT_MAX, next("call_started"));
        let data = started.await.expect("started")["data"].clone();
        for field in ["user_id", "listener_id", "call_type", "status"] {
            assert!(data.get(field).is_some(), "{field}: {data}");
        }
        assert_eq!(
            (&data["coins_spent"], &data["minute"]),
            (&json!(10), &json!(1))
        );
        let balance = data.get("remaining_coins").cloned();
        assert_eq!(balance, is_caller.then(|| json!(290)));
        // The test stack's minutes are short: the server bills the second by itself.
        let billing = socket.next_where("a bill", WAIT_MAX, next("call_billing"));
        let data = billing.await.expect("billed")["data"].clone();
        assert!(data["minute"].as_i64() >= Some(2), "{data}");
    }
    assert_eq!(pair.end(&pair.caller, call_id).await.status, 200);
    for socket in [&mut of_caller, &mut of_listener] {
        let ended = socket.next_where("an end", WAIT_MAX, next("call_ended"));
        let data = ended.await.expect("ended")["data"].clone();
        assert_eq!(data["status"], "completed", "{data}");
        assert!(data["duration_seconds"].is_i64(), "{data}");
        assert!(data["listener_money_earned"].is_number(), "{data}");
    }
    assert_quiet(&mut of_other).await;
}

/// Nothing has come before the answer to a ping that is sent now.
pub(crate) async fn assert_quiet(socket: &mut Socket) {
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    let next = socket.next(WAIT_MAX).await.expect("an answer");
    assert_eq!(next["type"], "pong", "{next}");
}

#[tokio::test]
async fn notifications_go_to_the_person_concerned_alone() {
    let pair = Pair::meet_without_coins().await;
    let (mut own, _) = open(&pair.app, "/ws/notifications", &pair.caller).await;
    let (mut others, _) = open(&pair.app, "/ws/notifications", &pair.listener).await;
    let (caller, id) = (&pair.caller, pair.listener.user_id);
    let favorite = json!({"listener_id": id});
    let block = json!({"blocked_id": id});
    let app = &pair.app;
    for (ask, r#type, of_whom) in [
        (
            app.post("/favorites/add").json(&favorite),
            "favorite_added",
            "listener_id",
        ),
        (
            app.delete("/favorites/remove").json(&favorite),
            "favorite_removed",
            "listener_id",
        ),
        (
            app.post("/block").json(&block),
            "user_blocked",
            "blocked_id",
        ),
        (
            app.delete("/block").json(&block),
            "user_unblocked",
            "blocked_id",
        ),
    ] {
        assert_eq!(ask.of(caller).answer().await.status, 200);
        let heard = about(&mut own, r#type, caller.user_id).await;
        assert_eq!(heard["data"][of_whom], id, "{heard}");
    }
    assert_quiet(&mut others).await;
}

#[tokio::test]
async fn low_coins_are_the_callers_business_alone() {
    let pair = Pair::meet().await;
    let (mut own, _) = open(&pair.app, "/ws/notifications", &pair.caller).await;
    let (mut others, _) = open(&pair.app, "/ws/notifications", &pair.listener).await;
    // Five minutes, the fourth of which leaves less than two.
    let wish = json!({"listener_id": pair.listener.user_id, "call_type": "video"});
    let start = pair.app.post("/calls/start").of(&pair.caller).json(&wish);
    let started = start.answer().await;
    assert_eq!(started.status, 200, "{started:?}");
    for balance_coins in [60, 0] {
        let low = about(&mut own, "low_balance", pair.caller.user_id).await;
        assert_eq!(low["data"]["balance_coins"], balance_coins, "{low}");
    }
    wait_for("the call's end", || async {
        pair.both_free().await.then_some(())
    })
    .await;
    assert_quiet(&mut others).await;
}

#[tokio::test]
async fn a_heartbeat_is_a_presence_update_and_so_is_a_ping() {
    let app = app().await;
    let (watcher, person) = (app.sign_up(Role::User).await, app.sign_up(Role::User).await);
    let (mut socket, _) = open(&app, "/ws/presence", &watcher).await;
    app.post("/users/me/heartbeat").of(&person).answer().await;
    about(&mut socket, "presence_update", person.user_id).await;

    let (mut own, _) = open(&app, "/ws/notifications", &person).await;
    set_status(&app, &person, json!({"is_online": false})).await;
    own.send(&json!({"type": "ping"})).await.expect("sent");
    own.next_of_type("pong", WAIT_MAX).await.expect("pong");
    wait_for("the ping to have put them online", || async {
        let status = app.get("/users/me/status").of(&person).answer().await;
        (status.body["is_online"] == true).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_may_choose_of_whom_to_hear() {
    let pair = Pair::meet_without_coins().await;
    let watcher = pair.app.sign_up(Role::User).await;
    let (mut socket, _) = open(&pair.app, "/ws/presence", &watcher).await;
    let (chosen, other) = (&pair.listener, &pair.caller);
    let choose = json!({"type": "subscribe", "data": {"user_ids": [chosen.user_id]}});
    socket.send(&choose).await.expect("sent");
    let subscribed = socket.next_of_type("subscribed", WAIT_MAX).await;
    let subscribed = subscribed.expect("an answer");
    assert_eq!(subscribed["data"]["user_ids"], json!([chosen.user_id]));
    mark(&pair.app, other, 11).await;
    mark(&pair.app, chosen, 12).await;
    let first = socket.next_of_type("status_change", WAIT_MAX).await;
    assert_eq!(first.expect("a change")["data"]["wait_time"], 12);

    let widen = json!({"type": "unsubscribe", "data": {"user_ids": [chosen.user_id]}});
    socket.send(&widen).await.expect("sent");
    socket
        .next_of_type("subscribed", WAIT_MAX)
        .await
        .expect("an answer");
    mark(&pair.app, other, 13).await;
    about(&mut socket, "status_change", other.user_id).await;
}

#[tokio::test]
async fn blocks_hold_at_once_and_both_ways() {
    let pair = Pair::meet_without_coins().await;
    let bystander = pair.app.sign_up(Role::User).await;
    let (mut of_caller, _) = open(&pair.app, "/ws/presence", &pair.caller).await;
    let (mut of_listener, _) = open(&pair.app, "/ws/presence", &pair.listener).await;
    let (mut notified, _) = open(&pair.app, "/ws/notifications", &pair.caller).await;
    let block = json!({"blocked_id": pair.listener.user_id});
    let ask = pair.app.post("/block").of(&pair.caller).json(&block);
    assert_eq!(ask.answer().await.status, 200);
    notified
        .next_of_type("user_blocked", WAIT_MAX)
        .await
        .expect("told");
    mark(&pair.app, &pair.caller, 21).await;
    mark(&pair.app, &pair.listener, 22).await;
    mark(&pair.app, &bystander, 23).await;
    for (socket, hidden) in [
        (&mut of_caller, pair.listener.user_id),
        (&mut of_listener, pair.caller.user_id),
    ] {
        let heard = socket.next_where("of either", WAIT_MAX, |message| {
            let about = &message["data"]["user_id"];
            *about == hidden || *about == bystander.user_id
        });
        assert_eq!(
            heard.await.expect("heard")["data"]["user_id"],
            bystander.user_id
        );
    }
    let ask = pair.app.delete("/block").of(&pair.caller).json(&block);
    assert_eq!(ask.answer().await.status, 200);
    wait_for("the listener to be heard of again", || async {
        let mut wait_time = 24;
        mark(&pair.app, &pair.listener, wait_time).await;
        wait_time += 1;
        let (mut socket, _) = open(&pair.app, "/ws/presence", &pair.caller).await;
        mark(&pair.app, &pair.listener, wait_time).await;
        let heard = socket.next_where("of them", ONE_SECOND, |message| {
            message["data"]["user_id"] == pair.listener.user_id
        });
        heard.await.ok()
    })
    .await;
}

#[tokio::test]
async fn a_socket_without_a_valid_token_is_told_why_and_closed() {
    let app = app().await;
    for path in PATHS {
        for token in ["", "nonsense"] {
            let opened = Socket::open(app.gateway_url(), path, Some(token)).await;
            let mut socket = opened.expect("accepted, to be told why it is refused");
            let error = socket.next_of_type("error", WAIT_MAX).await;
            let error = error.expect("an error");
            assert_eq!(error["data"]["code"], "AUTH_FAILED", "{error}");
            assert_eq!(socket.closed(WAIT_MAX).await.expect("closed").code, 4401);
        }
    }
    let refused = app.get("/ws/presence").answer().await;
    crate::assert_problem(&refused, 400, "websocket_expected");
}

#[tokio::test]
async fn the_token_comes_in_a_header_a_query_or_a_subprotocol() {
    let app = app().await;
    let person = app.sign_up(Role::User).await;
    let token = &person.access_token;
    let in_query = format!("/ws/calls?token={token}");
    let protocol = vec![("sec-websocket-protocol", format!("bearer, {token}"))];
    for (path, headers) in [
        (in_query.as_str(), vec![]),
        ("/ws/calls", protocol),
        (
            "/ws/calls",
            vec![("authorization", format!("Bearer {token}"))],
        ),
    ] {
        let opened = Socket::open_with(app.gateway_url(), path, &headers).await;
        let mut socket = opened.expect("accepted");
        socket.next_of_type("hello", WAIT_MAX).await.expect("hello");
    }
}

#[tokio::test]
async fn what_is_no_message_is_answered_and_harms_nobody() {
    let app = app().await;
    let person = app.sign_up(Role::User).await;
    let (mut socket, _) = open(&app, "/ws/presence", &person).await;
    for (text, code) in [
        ("", "INVALID_MESSAGE"),
        ("{", "INVALID_MESSAGE"),
        ("[1]", "INVALID_MESSAGE"),
        (r#"{"type": 7}"#, "INVALID_MESSAGE"),
        (r#"{"type": "subscribe"}"#, "INVALID_MESSAGE"),
        (
            r#"{"type": "subscribe", "data": {"user_ids": ["x"]}}"#,
            "INVALID_MESSAGE",
        ),
        (r#"{"type": "dance"}"#, "UNKNOWN_TYPE"),
    ] {
        socket.send_text(text).await.expect("sent");
        let error = socket
            .next_of_type("error", WAIT_MAX)
            .await
            .expect("an error");
        assert_eq!(error["data"]["code"], code, "{text}: {error}");
    }
    socket.send_binary(&[0xff; 8]).await.expect("sent");
    let error = socket
        .next_of_type("error", WAIT_MAX)
        .await
        .expect("an error");
    assert_eq!(error["data"]["code"], "INVALID_MESSAGE");
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    socket.next_of_type("pong", WAIT_MAX).await.expect("pong");

    let (mut broken, _) = open(&app, "/ws/presence", &person).await;
    // Reserved bits and an opcode that nobody has defined (RFC 6455, section 5.2).
    broken
        .write_raw(&[0xff, 0x80, 1, 2, 3, 4])
        .await
        .expect("written");
    broken.closed(WAIT_MAX).await.expect("closed");
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    let other = socket.next_of_type("pong", WAIT_MAX).await;
    other.expect("the other socket goes on");
}

#[tokio::test]
async fn a_message_has_at_most_64_kib() {
    let app = app().await;
    let person = app.sign_up(Role::User).await;
    let ping_of = |length: usize| {
        let frame = json!({"type": "ping", "data": {"pad": ""}}).to_string();
        let pad = "x".repeat(length - frame.len());
        json!({"type": "ping", "data": {"pad": pad}}).to_string()
    };
    let (mut socket, _) = open(&app, "/ws/calls", &person).await;
    socket.send_text(&ping_of(64 * 1024)).await.expect("sent");
    socket.next_of_type("pong", WAIT_MAX).await.expect("pong");
    for length in [64 * 1024 + 1, 1024 * 1024] {
        let (mut socket, _) = open(&app, "/ws/calls", &person).await;
        // The gateway may close before it has read it all.
        let _ = socket.send_text(&ping_of(length)).await;
        let closed = socket.closed(WAIT_MAX).await.expect("closed");
        assert!([1009, 1006].contains(&closed.code), "{length}: {closed:?}");
    }
}

#[tokio::test]
async fn a_client_that_floods_is_closed_and_its_neighbour_is_not() {
    let pair = Pair::meet_without_coins().await;
    let (mut flooding, _) = open(&pair.app, "/ws/calls", &pair.caller).await;
    let (mut neighbour, _) = open(&pair.app, "/ws/calls", &pair.listener).await;
    for _ in 0..200 {
        if flooding.send(&json!({"type": "ping"})).await.is_err() {
            break;
        }
    }
    let error = flooding
        .next_of_type("error", WAIT_MAX)
        .await
        .expect("an error");
    assert_eq!(error["data"]["code"], "RATE_LIMITED");
    assert_eq!(flooding.closed(WAIT_MAX).await.expect("closed").code, 4429);
    assert_quiet(&mut neighbour).await;
}

#[tokio::test]
async fn a_user_has_five_sockets_over_all_gateways() {
    let app = app().await;
    let replica = second_gateway(&[]).await;
    let person = app.sign_up(Role::User).await;
    let mut sockets = Vec::new();
    for path in PATHS {
        sockets.push(open(&app, path, &person).await.0);
    }
    let fifth = replica.app.socket("/ws/feed", &person).await;
    let mut fifth = fifth.expect("accepted");
    fifth
        .next_of_type("hello", WAIT_MAX)
        .await
        .expect("the fifth");
    for gateway in [&*app, &replica.app] {
        let mut sixth = gateway.socket("/ws/feed", &person).await.expect("accepted");
        let error = sixth
            .next_of_type("error", WAIT_MAX)
            .await
            .expect("an error");
        assert_eq!(error["data"]["code"], "CONNECTION_LIMIT", "{error}");
        assert_eq!(sixth.closed(WAIT_MAX).await.expect("closed").code, 4429);
    }
    drop(sockets.pop());
    let again = wait_for("the place to be free", || async {
        let mut again = app.socket("/ws/feed", &person).await.ok()?;
        let first = again.next(WAIT_MAX).await.ok()?;
        (first["type"] == "hello").then_some(again)
    })
    .await;
    sockets.push(again);
    // A replica that dies leaves no place taken: with those of this gateway it had been five.
    drop(replica);
    let mut again = wait_for("the place of a dead gateway's socket", || async {
        let mut again = app.socket("/ws/feed", &person).await.ok()?;
        let first = again.next(WAIT_MAX).await.ok()?;
        (first["type"] == "hello").then_some(again)
    })
    .await;
    assert_open(&mut again).await;
}

#[tokio::test]
async fn a_change_is_heard_on_every_gateway_under_the_same_number() {
    let app = app().await;
    let replica = second_gateway(&[]).await;
    let (watcher, person) = (app.sign_up(Role::User).await, app.sign_up(Role::User).await);
    let (mut here, hello) = open(&app, "/ws/presence", &watcher).await;
    let mut there = replica
        .app
        .socket("/ws/presence", &watcher)
        .await
        .expect("accepted");
    let hello_there = there.next_of_type("hello", WAIT_MAX).await.expect("hello");
    assert_eq!(hello["data"]["epoch"], hello_there["data"]["epoch"]);
    mark(&app, &person, 31).await;
    let heard_here = about(&mut here, "status_change", person.user_id).await;
    let heard_there = about(&mut there, "status_change", person.user_id).await;
    assert_eq!(heard_here, heard_there);
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_on_any_gateway() {
    let app = app().await;
    let replica = second_gateway(&[]).await;
    let (watcher, person) = (app.sign_up(Role::User).await, app.sign_up(Role::User).await);
    let (mut socket, hello) = open(&app, "/ws/presence", &watcher).await;
    mark(&app, &person, 41).await;
    let last = about(&mut socket, "status_change", person.user_id).await;
    drop(socket);
    mark(&app, &person, 42).await;
    mark(&app, &person, 43).await;

    let epoch = hello["data"]["epoch"].as_str().expect("an epoch");
    let since = last["seq"].as_u64().expect("a number");
    let path = format!("/ws/presence?since={since}&epoch={epoch}");
    for gateway in [&*app, &replica.app] {
        let mut socket = gateway.socket(&path, &watcher).await.expect("accepted");
        let hello = socket.next(WAIT_MAX).await.expect("hello");
        assert_eq!(
            (&hello["type"], &hello["seq"]),
            (&json!("hello"), &json!(since))
        );
        let newest = socket.next_where("the newest", WAIT_MAX, |message| {
            message["type"] == "status_change"
                && message["data"]["user_id"] == person.user_id
                && message["data"]["wait_time"] == 43
        });
        newest.await.expect("what was missed");
    }
}

#[tokio::test]
async fn what_is_no_longer_kept_is_a_snapshot() {
    let pair = Pair::meet().await;
    let watcher = pair.app.sign_up(Role::User).await;
    let call_id = pair.must_call().await;
    let snapshot = async |path: &str, person: &Person| {
        let path = format!("{path}?since=5&epoch=another");
        let (mut socket, hello) = open(&pair.app, &path, person).await;
        let snapshot = socket.next(WAIT_MAX).await.expect("a snapshot");
        assert_eq!(snapshot["type"], "snapshot", "{snapshot}");
        assert_eq!(snapshot["seq"], hello["seq"]);
        snapshot["data"].clone()
    };
    for path in ["/ws/feed", "/ws/presence"] {
        let listed = snapshot(path, &watcher).await;
        let statuses = listed["statuses"].as_array().expect("statuses");
        let of_listener = |status: &&Value| status["user_id"] == pair.listener.user_id;
        let status = statuses.iter().find(of_listener).expect("they are online");
        assert_eq!(status["is_busy"], true);
        assert!(listed["is_complete"].is_boolean());
    }
    let call = snapshot("/ws/calls", &pair.caller).await;
    assert_eq!(call["call"]["call_id"], call_id);
    let nothing = snapshot("/ws/notifications", &watcher).await;
    assert_eq!(nothing, json!({"is_complete": false}));
}

#[tokio::test]
async fn logout_and_deletion_close_sockets_on_every_gateway_within_a_second() {
    let app = app().await;
    let replica = second_gateway(&[]).await;
    for (way, is_deletion) in [("/auth/logout", false), ("/users/me", true)] {
        let person = app.sign_up(Role::User).await;
        let (here, _) = open(&app, "/ws/presence", &person).await;
        let (there, _) = open(&replica.app, "/ws/calls", &person).await;
        let ask = if is_deletion {
            app.delete(way)
        } else {
            app.post(way)
        };
        assert_eq!(ask.of(&person).answer().await.status, 200);
        let ended = Instant::now();
        for mut socket in [here, there] {
            let error = socket.next_of_type("error", CLOSED_WITHIN).await;
            assert_eq!(error.expect("an error")["data"]["code"], "AUTH_FAILED");
            assert_eq!(
                socket.closed(CLOSED_WITHIN).await.expect("closed").code,
                4401
            );
        }
        assert!(
            ended.elapsed() < CLOSED_WITHIN,
            "{way}: {:?}",
            ended.elapsed()
        );
    }
}

#[tokio::test]
async fn one_device_that_logs_out_leaves_the_others_online() {
    let app = app().await;
    let person = app.sign_up(Role::User).await;
    let other = app.log_in_again(&person).await;
    let (mut socket, _) = open(&app, "/ws/notifications", &other).await;
    let sessions = app.get("/auth/sessions").of(&other).answer().await;
    let first = sessions.body["sessions"]
        .as_array()
        .expect("sessions")
        .iter();
    let first = first
        .into_iter()
        .find(|session| session["is_current"] == false)
        .expect("the first device's");
    let id = first["session_id"].as_str().expect("an id");
    let ended = app
        .delete(&format!("/auth/sessions/{id}"))
        .of(&other)
        .answer()
        .await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let status = app.get("/users/me/status").of(&other).answer().await;
    assert_eq!(status.body["is_online"], true, "{status:?}");
    assert_quiet(&mut socket).await;
}

#[tokio::test]
async fn a_gateway_that_stops_sends_its_clients_elsewhere() {
    let app = app().await;
    let replica = second_gateway(&[]).await;
    let person = app.sign_up(Role::User).await;
    let (mut socket, _) = open(&replica.app, "/ws/feed", &person).await;
    replica.terminate().await;
    let closed = socket.closed(WAIT_MAX).await.expect("closed");
    assert_eq!(closed.code, 1012, "{closed:?}");
}

#[tokio::test]
async fn a_token_that_expires_takes_its_socket_along() {
    let lasts = Duration::from_secs(3);
    let auth = second_auth(&[("TALKTIME_AUTH__TOKENS__LIFETIMES__ACCESS_SECS", "3")]).await;
    let replica = second_gateway(&[("TALKTIME_GATEWAY__PEERS__AUTH", &auth.url)]).await;
    let app = app().await;
    let person = app.sign_up(Role::User).await;
    let person = app.log_in_at(&replica.app, &person).await;
    let (mut socket, _) = open(&replica.app, "/ws/feed", &person).await;
    let error = socket.next_of_type("error", lasts + CLOSED_WITHIN).await;
    assert_eq!(error.expect("an error")["data"]["code"], "AUTH_FAILED");
    assert_eq!(
        socket.closed(CLOSED_WITHIN).await.expect("closed").code,
        4401
    );
    let refused = replica.app.get("/users/me").of(&person).answer().await;
    crate::assert_problem(&refused, 401, "token_expired");
}

#[tokio::test]
async fn a_dead_client_is_dropped() {
    let replica = second_gateway(&[
        ("TALKTIME_GATEWAY__SOCKETS__PING_EVERY_MS", "200"),
        ("TALKTIME_GATEWAY__SOCKETS__SILENCE_MAX_MS", "1000"),
    ])
    .await;
    let app = app().await;
    let (dead, alive) = (app.sign_up(Role::User).await, app.sign_up(Role::User).await);
    let mut of_dead = replica
        .app
        .socket("/ws/feed", &dead)
        .await
        .expect("accepted");
    let mut of_alive = replica
        .app
        .socket("/ws/feed", &alive)
        .await
        .expect("accepted");
    of_dead
        .next_of_type("hello", WAIT_MAX)
        .await
        .expect("hello");
    // The one is not read, so that no ping is answered; the other is.
    let dropped = async {
        wait_for("the silent client to be dropped", || async {
            let gone = replica.metric("ws_connections_ended_total", "gone").await;
            (gone >= 1.0).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = dropped => {}
        closed = of_alive.closed(WAIT_MAX) => panic!("the living was closed: {closed:?}"),
    }
    assert_eq!(of_dead.closed(WAIT_MAX).await.expect("closed").code, 1006);
    assert_open(&mut of_alive).await;
}

/// It still answers.
async fn assert_open(socket: &mut Socket) {
    socket.send(&json!({"type": "ping"})).await.expect("sent");
    socket.next_of_type("pong", WAIT_MAX).await.expect("pong");
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_socket_and_slows_nobody_down() {
    let unread = ("TALKTIME_GATEWAY__SOCKETS__UNREAD_MAX_MS", "1000");
    let replica = second_gateway(&[unread]).await;
    let pair = Pair::meet_without_coins().await;
    let (slow, person) = (&pair.caller, &pair.listener);
    let watcher = pair.app.sign_up(Role::User).await;
    let (mut reading, _) = open(&replica.app, "/ws/presence", &watcher).await;
    let gateway = replica.app.gateway_url();
    let unread = Socket::open_narrow(gateway, "/ws/presence", &slow.access_token).await;
    let mut unread = unread.expect("accepted");
    // Each answer names all of them: some twenty kilobytes.
    let user_ids: Vec<i64> = (0..1_000).map(|id| i64::MAX - id).collect();
    let ask = json!({"type": "subscribe", "data": {"user_ids": user_ids}});
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let given_up = async {
        loop {
            pace.tick().await;
            let is_sent = unread.send(&ask).await.is_ok();
            let given_up = replica
                .metric("ws_connections_ended_total", "too_slow")
                .await;
            if given_up >= 1.0 {
                return;
            }
            assert!(is_sent, "the socket ended, and not for being slow");
        }
    };
    let everyone_else_hears = async {
        for wait_time in 101.. {
            mark(&pair.app, person, wait_time).await;
            let heard = reading.next_where("the mark", WAIT_MAX, |message| {
                message["type"] == "status_change" && message["data"]["wait_time"] == wait_time
            });
            heard.await.expect("heard, however slow the other is");
        }
    };
    tokio::select! {
        gave_up = tokio::time::timeout(WAIT_MAX, given_up) => gave_up.expect("given up"),
        () = everyone_else_hears => unreachable!("it never ends"),
    }
}
