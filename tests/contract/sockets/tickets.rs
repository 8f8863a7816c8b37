//! Tickets, which open a socket in place of a token in its address.

use talktime_client::{ApiClient, AppSocket, AppUser, UserRole};
use talktime_tests::replica::start_gateway;
use talktime_tests::{ExpectAnswer, WAIT_MAX, connect_app};

use crate::assert_problem;

async fn create_ticket(gateway: &ApiClient, person: &AppUser) -> String {
    let created = gateway.post("/ws/ticket").as_user(person).answer().await;
    assert_eq!(created.status, 200, "{created:?}");
    assert_eq!(created.body["expires_in_secs"], 30);
    created.body["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned()
}

/// Opens a socket with this query; returns the type of its first message, or the code of the refusal.
async fn open_with(gateway: &ApiClient, query: &str) -> String {
    let path = format!("/ws/calls?{query}");
    let socket = AppSocket::open(gateway.gateway_url(), &path, None).await;
    let mut socket = socket.expect("accepted, to be told why it is refused");
    let first = socket.receive_next(WAIT_MAX).await.expect("a message");
    let told = if first["type"] == "error" {
        &first["data"]["code"]
    } else {
        &first["type"]
    };
    told.as_str().expect("a text").to_owned()
}

#[tokio::test]
async fn a_ticket_opens_one_socket_on_any_gateway() {
    let app = connect_app().await;
    let replica = start_gateway(&[]).await;
    let person = app.sign_up(UserRole::User).await;
    let query = format!("ticket={}", create_ticket(&app, &person).await);
    assert_eq!(open_with(&replica.app, &query).await, "hello");
    for gateway in [&*app, &replica.app] {
        assert_eq!(open_with(gateway, &query).await, "AUTH_FAILED", "used");
    }
    assert_eq!(open_with(&app, "ticket=nonsense").await, "AUTH_FAILED");
    assert_problem(&app.post("/ws/ticket").answer().await, 401, "missing_token");
}

#[tokio::test]
async fn a_ticket_ends_with_the_session_of_its_token() {
    let app = connect_app().await;
    let person = app.sign_up(UserRole::User).await;
    let query = format!("ticket={}", create_ticket(&app, &person).await);
    let left = app.post("/auth/logout").as_user(&person).answer().await;
    assert_eq!(left.status, 200, "{left:?}");
    assert_eq!(open_with(&app, &query).await, "AUTH_FAILED");
}

#[tokio::test]
async fn an_operator_can_forbid_tokens_in_addresses() {
    let app = connect_app().await;
    let forbidden = ("TALKTIME_GATEWAY__SOCKETS__ACCEPT_QUERY_TOKENS", "false");
    let strict = start_gateway(&[forbidden]).await;
    let person = app.sign_up(UserRole::User).await;
    let query = format!("token={}", person.access_token);
    assert_eq!(open_with(&app, &query).await, "hello", "by default");
    assert_eq!(open_with(&strict.app, &query).await, "AUTH_FAILED");
    let query = format!("ticket={}", create_ticket(&strict.app, &person).await);
    assert_eq!(open_with(&strict.app, &query).await, "hello");
    let in_header = strict.app.connect_socket("/ws/calls", &person).await;
    let mut in_header = in_header.expect("accepted");
    let first = in_header.receive_next(WAIT_MAX).await.expect("a message");
    assert_eq!(first["type"], "hello");
}
