//! How a socket comes in: its token, and what becomes of it without a good one.

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Query as AxumQuery, State};
use axum::response::Response;
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::request::Parts;
use serde::Deserialize;
use talktime_kit::lifecycle::Lifecycle;
use talktime_kit::{Clock, Error, Kind};

use super::Hub;
use super::socket::{self, Connection, MESSAGE_BYTES_MAX};
use crate::problem::Result;
use crate::token::{self, Tokens};

/// The subprotocol under which a browser sends its token, and the one it is answered with.
const BEARER: &str = "bearer";
/// Beyond it a message is not even read to its end; a smaller one that is still too large is answered
/// with a close that says so.
const READ_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// What may wait for a slow client's connection besides what the hub keeps for it.
const UNSENT_BYTES_MAX: usize = 512 * 1024;

/// Where a client's token is: a header, the subprotocol pair `bearer, <token>`, or the query.
pub struct SocketToken(Result<String, Error>);

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for SocketToken {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let in_header = match token::bearer(&parts.headers) {
            Err(error) => return Ok(Self(Err(error))),
            Ok(token) => token.or_else(|| in_subprotocol(&parts.headers)),
        };
        if let Some(token) = in_header {
            return Ok(Self(Ok(token.to_owned())));
        }
        let query = AxumQuery::<TokenQuery>::from_request_parts(parts, state).await;
        let in_query = query.ok().and_then(|AxumQuery(query)| query.token);
        Ok(Self(in_query.ok_or_else(token::missing)))
    }
}

fn in_subprotocol(headers: &HeaderMap) -> Option<&str> {
    let mut protocols = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim);
    protocols.find(|protocol| *protocol == BEARER)?;
    protocols.next()
}

/// `/ws/presence`: statuses of everyone, as they change.
pub async fn presence(
    State(tokens): State<Tokens>,
    State(hub): State<Hub>,
    State(lifecycle): State<Lifecycle>,
    State(clock): State<Clock>,
    SocketToken(token): SocketToken,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response> {
    let upgrade = upgrade.map_err(no_upgrade)?;
    let caller = match token {
        Ok(token) => tokens.check(&token).await,
        Err(error) => Err(error),
    };
    let stopping = lifecycle.stopping();
    match caller {
        Ok(caller) => Ok(accept(upgrade, lifecycle, move |socket| async move {
            let connection = Connection::new(hub, clock, caller, stopping);
            connection.run(socket).await;
        })),
        // A browser cannot read the answer to a refused upgrade, so a refusal is told on the socket.
        Err(error) if error.kind() == Kind::Unauthenticated => {
            Ok(accept(upgrade, lifecycle, move |socket| async move {
                socket::refuse(socket, error.detail(), clock.now()).await;
            }))
        }
        // What could not be found out is no refusal: the client is to try again.
        Err(error) => Err(error.into()),
    }
}

/// Serves the socket in a task that the stop of this process waits for: the server itself forgets
/// connections that were upgraded.
fn accept<F, Fut>(upgrade: WebSocketUpgrade, lifecycle: Lifecycle, serve: F) -> Response
where
    F: FnOnce(WebSocket) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    upgrade
        .protocols([BEARER])
        .max_message_size(READ_BYTES_MAX)
        .max_frame_size(READ_BYTES_MAX)
        .max_write_buffer_size(UNSENT_BYTES_MAX)
        .on_upgrade(move |socket| async move { lifecycle.spawn(serve(socket)) })
}

fn no_upgrade(rejection: WebSocketUpgradeRejection) -> Error {
    Error::invalid(
        "websocket_expected",
        "This path takes WebSocket connections only.",
    )
    .with_source(rejection)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_token_follows_the_subprotocol_bearer() {
        let token_in = |value: &'static str| {
            let protocols = (SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(value));
            in_subprotocol(&HeaderMap::from_iter([protocols])).map(str::to_owned)
        };
        assert_eq!(token_in("bearer, a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token_in("chat,bearer,a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(token_in("bearer"), None);
        assert_eq!(token_in("chat, a.b.c"), None);
    }

    async fn token_of(request: http::request::Builder) -> Result<String, String> {
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let Ok(SocketToken(token)) = SocketToken::from_request_parts(&mut parts, &()).await;
        token.map_err(|error| error.code().to_owned())
    }

    #[tokio::test]
    async fn headers_come_before_the_query() {
        let request = http::Request::builder().uri("/ws/presence?token=query");
        assert_eq!(token_of(request).await, Ok("query".to_owned()));
        let request = http::Request::builder()
            .uri("/ws/presence?token=query")
            .header("authorization", "Bearer header");
        assert_eq!(token_of(request).await, Ok("header".to_owned()));
        let request = http::Request::builder().uri("/ws/presence");
        assert_eq!(token_of(request).await, Err("missing_token".to_owned()));
    }
}
