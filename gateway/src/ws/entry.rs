//! How a socket comes in: its token, and what becomes of it without a good one.

use std::sync::Arc;

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

use super::channel::Channel;
use super::places::Places;
use super::reader::Resume;
use super::snapshot::Snapshots;
use super::socket::{self, Connection, MESSAGE_BYTES_MAX, Patience, Refusal};
use super::status_log::ChangeForms;
use super::viewer::ViewerHandle;
use super::{Hub, hub::Epoch};
use crate::app::{Calls, Presence};
use crate::config::SocketsConfig;
use crate::heartbeats::Heartbeats;
use crate::problem::Result;
use crate::token::{self, Caller, Tokens};

/// The subprotocol under which a browser sends its token, and the one it is answered with.
const BEARER: &str = "bearer";
/// Beyond it a message is not even read to its end; a smaller one that is still too large is answered
/// with a close that says so.
const READ_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// What may wait for a slow client's connection.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// Small, since each of very many sockets has both: clients send little, and what is written together
/// goes out in pieces of this size.
const READ_BUFFER_BYTES: usize = 1024;
const WRITE_BUFFER_BYTES: usize = 4 * 1024;

/// What sockets are served with; cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<GateParts>);

/// The parts of a gate.
pub(super) struct GateParts {
    pub(super) tokens: Tokens,
    pub(super) hub: Hub,
    pub(super) places: Places,
    pub(super) snapshots: Snapshots,
    pub(super) heartbeats: Heartbeats,
    pub(super) lifecycle: Lifecycle,
    pub(super) clock: Clock,
    pub(super) patience: Patience,
}

impl Gate {
    /// Lets sockets in to hear what `hub` tells.
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
    pub fn new(
        tokens: Tokens,
        hub: Hub,
        places: Places,
        presence: Presence,
        calls: Calls,
        heartbeats: Heartbeats,
        lifecycle: Lifecycle,
        clock: Clock,
        config: SocketsConfig,
    ) -> Self {
        Self(Arc::new(GateParts {
            tokens,
            hub,
            places,
            snapshots: Snapshots::new(presence, calls),
            heartbeats,
            lifecycle,
            clock,
            patience: Patience::new(config),
        }))
    }

    async fn enter(self, channel: Channel, entrance: Entrance) -> Result<Response> {
        let Entrance {
            token,
            resume,
            upgrade,
        } = entrance;
        let upgrade = upgrade?;
        match self.admit(token).await {
            Ok(guest) => {
                let parts = self.0.clone();
                Ok(self.accept(upgrade, move |socket| async move {
                    let connection = Connection::new(parts, channel, guest);
                    connection.run(socket, resume).await;
                }))
            }
            // A browser cannot read the answer to a refused upgrade, so a refusal is told on the socket.
            Err(NotAdmitted::Refused(refusal)) => {
                let now = self.0.clock.now();
                Ok(self.accept(upgrade, move |socket| async move {
                    socket::refuse(socket, &refusal, now).await;
                }))
            }
            // What could not be found out is no refusal: the client is to try again.
            Err(NotAdmitted::Unknown(error)) => Err(error.into()),
        }
    }

    async fn admit(&self, token: Result<String, Error>) -> Result<Guest, NotAdmitted> {
        let caller = self.0.tokens.check(&token?).await?;
        let epoch = self.0.hub.epoch()?;
        let viewer = self.0.hub.come(caller.user_id).await?;
        if viewer.is_barred() {
            return Err(NotAdmitted::Refused(Refusal::barred()));
        }
        Ok(Guest {
            caller,
            viewer,
            epoch,
        })
    }

    /// Serves the socket in a task that the stop of this process waits for: the server itself forgets
    /// connections that were upgraded.
    fn accept<F, Fut>(&self, upgrade: WebSocketUpgrade, serve: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let lifecycle = self.0.lifecycle.clone();
        upgrade
            .protocols([BEARER])
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(UNSENT_BYTES_MAX)
            .max_message_size(READ_BYTES_MAX)
            .max_frame_size(READ_BYTES_MAX)
            .on_upgrade(move |socket| async move { lifecycle.spawn(serve(socket)) })
    }
}

/// Someone who may come in.
pub(super) struct Guest {
    pub(super) caller: Caller,
    pub(super) viewer: ViewerHandle,
    pub(super) epoch: Arc<Epoch>,
}

enum NotAdmitted {
    Refused(Refusal),
    Unknown(Error),
}

impl From<Error> for NotAdmitted {
    fn from(error: Error) -> Self {
        match error.kind() {
            // A user who is gone has no token that is good.
            Kind::Unauthenticated | Kind::NotFound => {
                Self::Refused(Refusal::auth_failed(error.detail().to_owned()))
            }
            _ => Self::Unknown(error),
        }
    }
}

/// `/ws/feed`: listeners, as they come and go.
pub async fn feed(State(gate): State<Gate>, entrance: Entrance) -> Result<Response> {
    gate.enter(Channel::Feed, entrance).await
}

/// `/ws/presence`: statuses of everyone, as they change.
pub async fn presence(State(gate): State<Gate>, entrance: Entrance) -> Result<Response> {
    gate.enter(Channel::Presence, entrance).await
}

/// `/ws/calls`: one's own calls.
pub async fn calls(State(gate): State<Gate>, entrance: Entrance) -> Result<Response> {
    gate.enter(Channel::Calls, entrance).await
}

/// `/ws/notifications`: what happens to oneself.
pub async fn notifications(State(gate): State<Gate>, entrance: Entrance) -> Result<Response> {
    gate.enter(Channel::Notifications, entrance).await
}

/// What a client brings: its token, where it stopped reading, and the socket to be.
pub struct Entrance {
    token: Result<String, Error>,
    resume: Resume,
    upgrade: Result<WebSocketUpgrade, Error>,
}

#[derive(Default, Deserialize)]
struct EntranceQuery {
    token: Option<String>,
    since: Option<String>,
    epoch: Option<String>,
    changes: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Entrance {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let query = AxumQuery::<EntranceQuery>::from_request_parts(parts, state).await;
        let query = query.map(|AxumQuery(query)| query).unwrap_or_default();
        let upgrade = WebSocketUpgrade::from_request_parts(parts, state).await;
        Ok(Self {
            token: token_of(&parts.headers, query.token),
            resume: Resume {
                is_asked: query.since.is_some() || query.epoch.is_some(),
                since: query.since.and_then(|since| since.parse().ok()),
                epoch: query.epoch,
                forms: ChangeForms::named(query.changes.as_deref()),
            },
            upgrade: upgrade.map_err(no_upgrade),
        })
    }
}

/// A header, the subprotocol pair `bearer, <token>`, or the query.
fn token_of(headers: &HeaderMap, in_query: Option<String>) -> Result<String, Error> {
    if let Some(token) = token::bearer(headers)?.or_else(|| in_subprotocol(headers)) {
        return Ok(token.to_owned());
    }
    in_query.ok_or_else(token::missing)
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

    async fn entrance_of(request: http::request::Builder) -> Entrance {
        let (mut parts, ()) = request.body(()).expect("a request").into_parts();
        let Ok(entrance) = Entrance::from_request_parts(&mut parts, &()).await;
        entrance
    }

    async fn token_in(request: http::request::Builder) -> Result<String, String> {
        let token = entrance_of(request).await.token;
        token.map_err(|error| error.code().to_owned())
    }

    #[tokio::test]
    async fn headers_come_before_the_query() {
        let request = http::Request::builder().uri("/ws/presence?token=query");
        assert_eq!(token_in(request).await, Ok("query".to_owned()));
        let request = http::Request::builder()
            .uri("/ws/presence?token=query")
            .header("authorization", "Bearer header");
        assert_eq!(token_in(request).await, Ok("header".to_owned()));
        let request = http::Request::builder().uri("/ws/presence");
        assert_eq!(token_in(request).await, Err("missing_token".to_owned()));
    }

    #[tokio::test]
    async fn a_client_says_where_it_stopped() {
        let resume_in = async |uri: &str| {
            let resume = entrance_of(http::Request::builder().uri(uri)).await.resume;
            (resume.is_asked, resume.since, resume.epoch)
        };
        assert_eq!(resume_in("/ws/feed").await, (false, None, None));
        let asked = resume_in("/ws/feed?since=7&epoch=e").await;
        assert_eq!(asked, (true, Some(7), Some("e".to_owned())));
        let nonsense = resume_in("/ws/feed?since=seven").await;
        assert_eq!(nonsense, (true, None, None));
    }
}
