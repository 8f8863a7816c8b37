//! Who comes in, how, and how often.

use talktime_client::{Role, Socket};
use talktime_tests::replica::second_gateway;
use talktime_tests::{Answered, WAIT_MAX, app, wait_for};

use super::{PATHS, assert_open, open};

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
