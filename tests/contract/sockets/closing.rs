//! Closes of sockets.

use std::time::{Duration, Instant};

use serde_json::json;
use sqlx::{Connection, PgConnection};
use talktime_client::{AppSocket, AppUser, UserRole};
use talktime_tests::replica::{start_auth, start_gateway};
use talktime_tests::{
    CallPair, ExpectAnswer, WAIT_MAX, connect_app, read_variable, run_dev, wait_for,
};
use tokio::time::MissedTickBehavior;

use super::{CLOSED_WITHIN, assert_open, assert_quiet, open, send_marker};

#[tokio::test]
async fn logout_and_deletion_close_sockets_on_every_gateway_within_a_second() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    for (way, is_deletion) in [("/auth/logout", false), ("/users/me", true)] {
        let person = app.sign_up(UserRole::User).await;
        let (local_socket, _) = open(&app, "/ws/presence", &person).await;
        let (remote_socket, _) = open(&replica.app, "/ws/calls", &person).await;
        let request = if is_deletion {
            app.delete(way)
        } else {
            app.post(way)
        };
        assert_eq!(request.as_user(&person).answer().await.status, 200);
        let ended = Instant::now();
        for mut socket in [local_socket, remote_socket] {
            let error = socket.receive_type("error", CLOSED_WITHIN).await;
            assert_eq!(error.expect("an error")["data"]["code"], "AUTH_FAILED");
            assert_eq!(
                socket
                    .wait_until_closed(CLOSED_WITHIN)
                    .await
                    .expect("closed")
                    .code,
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

/// Leaves a user with the role of an admin alone, which the operator's command can revoke like a ban.
async fn make_pure_admin(person: &AppUser) {
    run_dev(&["grant-admin", &person.phone]).await;
    let url = read_variable("PROFILE_APP_DATABASE_URL");
    let mut profile = PgConnection::connect(&url).await.expect("connected");
    let others = "UPDATE profile.user_roles SET active = false
                  WHERE user_id = $1 AND role <> 'admin'";
    let taken = sqlx::query(others).bind(person.user_id);
    let taken = taken.execute(&mut profile).await.expect("taken away");
    assert_eq!(taken.rows_affected(), 1);
}

async fn assert_closed_as_barred(mut socket: AppSocket) {
    let error = socket.receive_type("error", CLOSED_WITHIN).await;
    assert_eq!(
        error.expect("an error")["data"]["code"],
        "PERMISSION_DENIED"
    );
    let closed = socket
        .wait_until_closed(CLOSED_WITHIN)
        .await
        .expect("closed");
    assert_eq!(closed.code, 4403, "{closed:?}");
}

#[tokio::test]
async fn losing_the_last_role_closes_sockets_on_every_gateway_within_a_second() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    let (banned, other) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    make_pure_admin(&banned).await;
    let (local_socket, _) = open(&app, "/ws/presence", &banned).await;
    let (remote_socket, _) = open(&replica.app, "/ws/calls", &banned).await;
    let (mut of_other, _) = open(&app, "/ws/notifications", &other).await;
    let command = ["run", "profile", "revoke-admin", "--operator", "asha"];
    run_dev(&[&command[..], &[&banned.phone]].concat()).await;
    let ended = Instant::now();
    for socket in [local_socket, remote_socket] {
        assert_closed_as_barred(socket).await;
    }
    assert!(ended.elapsed() < CLOSED_WITHIN, "{:?}", ended.elapsed());
    for gateway in [&*app, &replica.app] {
        let again = gateway.connect_socket("/ws/feed", &banned).await;
        assert_closed_as_barred(again.expect("accepted, to be told why it is refused")).await;
    }
    assert_quiet(&mut of_other).await;
}

#[tokio::test]
async fn one_device_that_logs_out_leaves_the_others_online() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let other = app.log_in_again(&person).await;
    let (mut socket, _) = open(&app, "/ws/notifications", &other).await;
    let sessions = app.get("/auth/sessions").as_user(&other).answer().await;
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
        .as_user(&other)
        .answer()
        .await;
    assert_eq!(ended.status, 200, "{ended:?}");
    let status = app.get("/users/me/status").as_user(&other).answer().await;
    assert_eq!(status.body["is_online"], true, "{status:?}");
    assert_quiet(&mut socket).await;
}

#[tokio::test]
async fn a_stopping_gateway_closes_sockets_so_that_clients_reconnect() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    let person = app.sign_up(UserRole::User).await;
    let (mut socket, _) = open(&replica.app, "/ws/feed", &person).await;
    replica.terminate().await;
    let closed = socket.wait_until_closed(WAIT_MAX).await.expect("closed");
    assert_eq!(closed.code, 1012, "{closed:?}");
}

#[tokio::test]
async fn the_expiry_of_a_token_closes_its_socket() {
    let lifetime = Duration::from_secs(3);
    let auth = start_auth(&[("TALKTIME_AUTH__TOKENS__LIFETIMES__ACCESS_SECS", "3")]).await;
    let replica = start_gateway(&[("TALKTIME_GATEWAY__PEERS__AUTH", &auth.url)]).await;
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let person = app.log_in_at(&replica.app, &person).await;
    let (mut socket, _) = open(&replica.app, "/ws/feed", &person).await;
    let error = socket.receive_type("error", lifetime + CLOSED_WITHIN).await;
    assert_eq!(error.expect("an error")["data"]["code"], "AUTH_FAILED");
    assert_eq!(
        socket
            .wait_until_closed(CLOSED_WITHIN)
            .await
            .expect("closed")
            .code,
        4401
    );
    let refused = replica.app.get("/users/me").as_user(&person).answer().await;
    crate::assert_problem(&refused, 401, "token_expired");
}

#[tokio::test]
async fn a_dead_client_is_dropped() {
    let replica = start_gateway(&[
        ("TALKTIME_GATEWAY__SOCKETS__PING_EVERY_MS", "200"),
        ("TALKTIME_GATEWAY__SOCKETS__SILENCE_MAX_MS", "1000"),
    ])
    .await;
    let app = connect_app().await;
    let (dead, alive) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let mut of_dead = replica
        .app
        .connect_socket("/ws/feed", &dead)
        .await
        .expect("accepted");
    let mut of_alive = replica
        .app
        .connect_socket("/ws/feed", &alive)
        .await
        .expect("accepted");
    of_dead
        .receive_type("hello", WAIT_MAX)
        .await
        .expect("hello");
    // The first socket is not read, so it answers no pings; the second one is read.
    let dropped = async {
        wait_for("the silent client to be dropped", || async {
            let gone = replica
                .read_metric("ws_connections_ended_total", "gone")
                .await;
            (gone >= 1.0).then_some(())
        })
        .await;
    };
    tokio::select! {
        () = dropped => {}
        closed = of_alive.wait_until_closed(WAIT_MAX) => panic!("the living was closed: {closed:?}"),
    }
    assert_eq!(
        of_dead
            .wait_until_closed(WAIT_MAX)
            .await
            .expect("closed")
            .code,
        1006
    );
    assert_open(&mut of_alive).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_socket_and_slows_nobody_down() {
    let unread = ("TALKTIME_GATEWAY__SOCKETS__UNREAD_MAX_MS", "1000");
    let replica = start_gateway(&[unread]).await;
    let pair = CallPair::sign_up_without_coins().await;
    let (slow, person) = (&pair.caller, &pair.listener);
    let watcher = pair.app.sign_up(UserRole::User).await;
    let (mut reading, _) = open(&replica.app, "/ws/presence", &watcher).await;
    let gateway = replica.app.gateway_url();
    let unread = AppSocket::open_narrow(gateway, "/ws/presence", &slow.access_token).await;
    let mut unread = unread.expect("accepted");
    // Each answer contains all of them, about twenty kilobytes.
    let user_ids: Vec<i64> = (0..1_000).map(|id| i64::MAX - id).collect();
    let request = json!({"type": "subscribe", "data": {"user_ids": user_ids}});
    let mut pace = tokio::time::interval(Duration::from_millis(50));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let given_up = async {
        loop {
            pace.tick().await;
            let is_sent = unread.send(&request).await.is_ok();
            let given_up = replica
                .read_metric("ws_connections_ended_total", "too_slow")
                .await;
            if given_up >= 1.0 {
                return;
            }
            assert!(is_sent, "the socket ended, and not for being slow");
        }
    };
    let everyone_else_hears = async {
        for wait_time in 101.. {
            send_marker(&pair.app, person, wait_time).await;
            let received = reading.receive_matching("the mark", WAIT_MAX, |message| {
                message["type"] == "status_change" && message["data"]["wait_time"] == wait_time
            });
            received.await.expect("heard, however slow the other is");
        }
    };
    tokio::select! {
        gave_up = tokio::time::timeout(WAIT_MAX, given_up) => gave_up.expect("given up"),
        () = everyone_else_hears => unreachable!("it never ends"),
    }
}
