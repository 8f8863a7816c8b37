//! The request that opens a socket.

use std::convert::Infallible;

use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{FromRequestParts, Query as AxumQuery};
use http::HeaderMap;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::request::Parts;
use serde::Deserialize;
use talktime_kit::Error;
use talktime_kit::tokens::parse_bearer;

use super::reader::SocketResumeRequest;
use super::status_log::StatusChangeFormat;
use crate::token;

/// The subprotocol under which a browser sends its token, and with which it is answered.
pub(super) const BEARER: &str = "bearer";

/// The proof of identity that a client sends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum SocketCredential {
    /// An access token in a header or a subprotocol.
    Token(String),
    /// An access token in the address.
    QueryToken(String),
    /// A ticket in the address.
    Ticket(String),
}

impl SocketCredential {
    /// Returns the label for metrics.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Token(_) => "token",
            Self::QueryToken(_) => "query_token",
            Self::Ticket(_) => "ticket",
        }
    }

    /// Returns the token, which a client sends again with each attempt; a ticket is another one each time.
    pub(super) fn token(&self) -> Option<&str> {
        match self {
            Self::Token(token) | Self::QueryToken(token) => Some(token),
            Self::Ticket(_) => None,
        }
    }
}

/// The request that opens a socket: the token or ticket, the position at which the client stopped, and the upgrade.
pub struct SocketUpgradeRequest {
    pub(super) credential: Result<SocketCredential, Error>,
    pub(super) resume: SocketResumeRequest,
    pub(super) upgrade: Result<WebSocketUpgrade, Error>,
}

#[derive(Default, Deserialize)]
struct SocketUpgradeQuery {
    token: Option<String>,
    ticket: Option<String>,
    since: Option<String>,
    epoch: Option<String>,
    changes: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for SocketUpgradeRequest {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let query = AxumQuery::<SocketUpgradeQuery>::from_request_parts(parts, state).await;
        let query = query.map(|AxumQuery(query)| query).unwrap_or_default();
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        Ok(Self {
            credential: find_credential(&parts.headers, query.ticket, query.token),
            resume: SocketResumeRequest {
                is_present: query.since.is_some() || query.epoch.is_some(),
                since: query.since.and_then(|since| since.parse().ok()),
                stream_id: query.epoch,
                format: StatusChangeFormat::from_name(query.changes.as_deref()),
            },
            upgrade: upgrade.map_err(no_upgrade),
        })
    }
}

/// Takes the token from the header, from the subprotocol pair `bearer, <token>`, or a ticket or token from the query.
fn find_credential(
    headers: &HeaderMap,
    ticket: Option<String>,
    query_token: Option<String>,
) -> Result<SocketCredential, Error> {
    if let Some(token) = parse_bearer(headers)?.or_else(|| in_subprotocol(headers)) {
        return Ok(SocketCredential::Token(token.to_owned()));
    }
    let ticket = ticket.map(SocketCredential::Ticket);
    let query_token = query_token.map(SocketCredential::QueryToken);
    ticket.or(query_token).ok_or_else(token::missing_token)
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

fn no_upgrade(rejection: WebSocketUpgradeRejection) -> Error {
    Error::invalid(
        "websocket_expected",
        "This path accepts WebSocket connections only.",
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

    async fn parse(request: http::request::Builder) -> SocketUpgradeRequest {
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let Ok(request) = SocketUpgradeRequest::from_request_parts(&mut parts, &()).await;
        request
    }

    async fn credential_in(request: http::request::Builder) -> Result<SocketCredential, String> {
        let credential = parse(request).await.credential;
        credential.map_err(|error| error.code().to_owned())
    }

    #[tokio::test]
    async fn headers_take_precedence_over_the_query() {
        let request = http::Request::builder().uri("/ws/presence?token=query");
        let in_query = Ok(SocketCredential::QueryToken("query".to_owned()));
        assert_eq!(credential_in(request).await, in_query);
        let both = "/ws/presence?token=query&ticket=once";
        let ticket = Ok(SocketCredential::Ticket("once".to_owned()));
        let request = http::Request::builder().uri(both);
        assert_eq!(credential_in(request).await, ticket);
        let request = http::Request::builder()
            .uri(both)
            .header("authorization", "Bearer header");
        let in_header = Ok(SocketCredential::Token("header".to_owned()));
        assert_eq!(credential_in(request).await, in_header);
        let request = http::Request::builder().uri("/ws/presence");
        let missing = Err("missing_token".to_owned());
        assert_eq!(credential_in(request).await, missing);
    }

    #[tokio::test]
    async fn the_position_is_read_from_the_query() {
        let resume_in = async |uri: &str| {
            let resume = parse(http::Request::builder().uri(uri)).await.resume;
            (resume.is_present, resume.since, resume.stream_id)
        };
        assert_eq!(resume_in("/ws/feed").await, (false, None, None));
        let present = resume_in("/ws/feed?since=7&epoch=e").await;
        assert_eq!(present, (true, Some(7), Some("e".to_owned())));
        let invalid = resume_in("/ws/feed?since=seven").await;
        assert_eq!(invalid, (true, None, None));
    }
}
