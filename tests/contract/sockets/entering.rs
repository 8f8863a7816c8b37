//! Admission of sockets: tokens and the limit of each user.

use futures::FutureExt;
use talktime_client::{AppSocket, UserRole};
use talktime_tests::replica::{start_gateway, start_logged_gateway};
use talktime_tests::{ExpectAnswer, WAIT_MAX, connect_app, wait_for};

use super::{PATHS, assert_open, open};

#[tokio::test]
async fn a_socket_without_a_valid_token_is_closed_with_a_reason() {
    let app = connect_app().await;
    for path in PATHS {
        for token in ["", "nonsense"] {
            let opened = AppSocket::open(app.gateway_url(), path, Some(token)).await;
            let mut socket = opened.expect("accepted, to be told why it is refused");
            let error = socket.receive_type("error", WAIT_MAX).await;
            let error = error.expect("an error");
            assert_eq!(error["data"]["code"], "AUTH_FAILED", "{error}");
            assert_eq!(
                socket
                    .wait_until_closed(WAIT_MAX)
                    .await
                    .expect("closed")
                    .code,
                4401
            );
        }
    }
    let refused = app.get("/ws/presence").answer().await;
    crate::assert_problem(&refused, 400, "websocket_expected");
}

#[tokio::test]
async fn a_client_that_is_refused_again_and_again_is_answered_429_and_others_are_not() {
    let replica = start_gateway(&[]).await;
    let person = connect_app().await.sign_up(UserRole::User).await;
    let (mut socket, _) = open(&replica.app, "/ws/presence", &person).await;
    let gateway = replica.app.gateway_url();
    for _ in 0..10 {
        let refused = AppSocket::open(gateway, "/ws/presence", Some("invalid")).await;
        let mut refused = refused.expect("accepted, so that a browser can read the reason");
        let closed = refused.wait_until_closed(WAIT_MAX).await.expect("closed");
        assert_eq!(closed.code, 4401);
    }
    for path in PATHS {
        let limited = AppSocket::open(gateway, path, Some("invalid")).await;
        assert!(limited.is_err(), "{path}");
        let limited = replica.app.get(path).bearer("invalid").answer().await;
        crate::assert_problem(&limited, 429, "too_many_refusals");
        let seconds = limited.header("retry-after").expect("a time to wait");
        let seconds: u64 = seconds.parse().expect("seconds");
        assert!((1..=60).contains(&seconds), "{seconds}");
    }
    // The limit is that of one token and address: everybody here has the same address.
    let other = AppSocket::open(gateway, "/ws/presence", Some("another")).await;
    let closed = other.expect("accepted").wait_until_closed(WAIT_MAX).await;
    assert_eq!(closed.expect("closed").code, 4401);
    open(&replica.app, "/ws/feed", &person).await;
    assert_open(&mut socket).await;
    let metric = replica.read_metric("ws_upgrades_limited_total", "").await;
    assert!(metric >= 8.0, "{metric}");
}

#[tokio::test]
async fn a_token_is_accepted_in_a_header_a_query_and_a_subprotocol() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
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
        let opened = AppSocket::open_with(app.gateway_url(), path, &headers).await;
        let mut socket = opened.expect("accepted");
        socket.receive_type("hello", WAIT_MAX).await.expect("hello");
    }
}

/// URLs often end up in logs, but not in those of the gateway, not even at the most detailed level.
#[tokio::test]
async fn a_token_in_a_url_is_not_logged() {
    let (replica, log) =
        start_logged_gateway(&[("TALKTIME_GATEWAY__TELEMETRY__LOG", "trace")]).await;
    let person = connect_app().await.sign_up(UserRole::User).await;
    let tokens = [&person.access_token, &person.refresh_token];
    for token in tokens {
        for path in PATHS {
            let path = format!("{path}?token={token}");
            // With so many lines, the replica reads the latest events longer than its readiness waits for them.
            let open = || AppSocket::open(replica.app.gateway_url(), &path, None);
            let opened = wait_for("a socket", || open().map(Result::ok));
            // The client of a token that is no access token learns so from its first message.
            let mut socket = opened.await;
            socket
                .receive_next(WAIT_MAX)
                .await
                .expect("a hello or an error");
            let no_socket = replica.app.get(&path).answer().await;
            assert_eq!(no_socket.status, 400, "{path}: {no_socket:?}");
        }
        let nowhere = format!("/ws/nowhere?token={token}");
        assert_eq!(replica.app.get(&nowhere).answer().await.status, 404);
    }
    replica.terminate().await;
    let log = log.await.expect("the gateway has ended");
    for path in PATHS {
        assert!(log.contains(path), "requests are logged, by their route");
    }
    assert!(log.contains(r#""level":"TRACE""#), "at the level asked for");
    for part in tokens.into_iter().flat_map(|token| token.split('.')) {
        let line = log.lines().find(|line| line.contains(part));
        assert_eq!(line, None, "a part of a token");
    }
}

#[tokio::test]
async fn an_address_has_a_number_of_sockets_on_a_gateway() {
    let app = connect_app().await;
    let gateway = start_gateway(&[("TALKTIME_GATEWAY__SOCKETS__PER_ADDRESS_MAX", "1")]).await;
    let (first, second) = (
        app.sign_up(UserRole::User).await,
        app.sign_up(UserRole::User).await,
    );
    let (held, _) = open(&gateway.app, "/ws/feed", &first).await;
    let refused = gateway.app.connect_socket("/ws/feed", &second).await;
    let mut refused = refused.expect("accepted");
    let error = refused.receive_type("error", WAIT_MAX).await;
    assert_eq!(error.expect("an error")["data"]["code"], "CONNECTION_LIMIT");
    let closed = refused.wait_until_closed(WAIT_MAX).await.expect("closed");
    assert_eq!(closed.code, 4429);
    let limited = gateway
        .read_metric("address_limited_total", "sockets")
        .await;
    assert!((limited - 1.0).abs() < f64::EPSILON, "{limited}");
    drop(held);
    wait_for("the place to be free", || async {
        let socket = gateway.app.connect_socket("/ws/feed", &second).await;
        let first = socket.ok()?.receive_next(WAIT_MAX).await.ok()?;
        (first["type"] == "hello").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_user_has_five_sockets_over_all_gateways() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    let person = app.sign_up(UserRole::User).await;
    let mut sockets = Vec::new();
    for path in PATHS {
        sockets.push(open(&app, path, &person).await.0);
    }
    let fifth = replica.app.connect_socket("/ws/feed", &person).await;
    let mut fifth = fifth.expect("accepted");
    fifth
        .receive_type("hello", WAIT_MAX)
        .await
        .expect("the fifth");
    for gateway in [&*app, &replica.app] {
        let mut sixth = gateway
            .connect_socket("/ws/feed", &person)
            .await
            .expect("accepted");
        let error = sixth
            .receive_type("error", WAIT_MAX)
            .await
            .expect("an error");
        assert_eq!(error["data"]["code"], "CONNECTION_LIMIT", "{error}");
        assert_eq!(
            sixth
                .wait_until_closed(WAIT_MAX)
                .await
                .expect("closed")
                .code,
            4429
        );
    }
    drop(sockets.pop());
    let again = wait_for("the place to be free", || async {
        let mut again = app.connect_socket("/ws/feed", &person).await.ok()?;
        let first = again.receive_next(WAIT_MAX).await.ok()?;
        (first["type"] == "hello").then_some(again)
    })
    .await;
    sockets.push(again);
    // The places of a killed replica become free; together with those of this gateway they were five.
    drop(replica);
    let mut again = wait_for("the place of a dead gateway's socket", || async {
        let mut again = app.connect_socket("/ws/feed", &person).await.ok()?;
        let first = again.receive_next(WAIT_MAX).await.ok()?;
        (first["type"] == "hello").then_some(again)
    })
    .await;
    assert_open(&mut again).await;
}
