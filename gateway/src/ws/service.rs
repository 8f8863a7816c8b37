//! Admits clients to sockets: checks the token, accepts the upgrade and starts the connection.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::{Clock, Error, ErrorKind};

use super::SocketHub;
use super::channel::SocketChannel;
use super::client_message::MESSAGE_BYTES_MAX;
use super::close::{SocketRefusal, refuse_socket};
use super::connection::SocketConnection;
use super::connection_slots::SocketConnectionSlots;
use super::context::{AdmittedClient, SocketContext, SocketTimeouts};
use super::refusal_limit::{ClientKey, SocketRefusalLimit};
use super::snapshot::ChannelSnapshotLoader;
use super::tickets::SocketTickets;
use super::upgrade_request::{BEARER, SocketCredential, SocketUpgradeRequest};
use crate::address_counts::AddressCounts;
use crate::clients::{CallsClient, PresenceClient, ProfileClient};
use crate::config::SocketsConfig;
use crate::extract::AddressKey;
use crate::heartbeats::HeartbeatForwarder;
use crate::problem::Result;
use crate::token::{self, CurrentUser, TokenVerifier};

/// A longer message is not read to its end. One that is shorter, but still too long, is answered with a close
/// code.
const READ_BYTES_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// Bytes that may wait for a slow client's connection.
const UNSENT_BYTES_MAX: usize = 256 * 1024;
/// The buffers are small because every socket has both. Clients send little, and the messages of a batch are gathered by
/// the connection, which needs memory only while it writes (`HeldBytes`).
const READ_BUFFER_BYTES: usize = 1024;
const WRITE_BUFFER_BYTES: usize = 0;

const CREDENTIALS: &str = "ws_credentials_total";

/// Admits clients to sockets; cheap to clone.
#[derive(Clone)]
pub struct SocketService {
    hub: SocketHub,
    refusals: Arc<SocketRefusalLimit>,
    by_address: AddressCounts,
    context: Arc<SocketContext>,
}

impl SocketService {
    /// Creates the service of the sockets that read from `hub`.
    #[expect(clippy::too_many_arguments, reason = "each is a part of its own")]
    pub fn new(
        tokens: TokenVerifier,
        hub: SocketHub,
        slots: SocketConnectionSlots,
        presence: PresenceClient,
        calls: CallsClient,
        profile: ProfileClient,
        heartbeats: HeartbeatForwarder,
        nats: async_nats::Client,
        lifecycle: ProcessLifecycle,
        tickets: SocketTickets,
        clock: Clock,
        config: SocketsConfig,
    ) -> Self {
        for credential in ["token", "query_token", "ticket"] {
            metrics::counter!(CREDENTIALS, "credential" => credential).increment(0);
        }
        let context = SocketContext {
            tokens,
            tickets,
            accepts_query_tokens: config.accept_query_tokens,
            slots,
            snapshots: ChannelSnapshotLoader::new(presence, calls.clone(), profile),
            calls,
            nats,
            heartbeats,
            lifecycle,
            clock,
            timeouts: SocketTimeouts::new(config),
        };
        Self {
            hub,
            refusals: Arc::new(SocketRefusalLimit::new()),
            by_address: AddressCounts::new("sockets", config.per_address_max),
            context: Arc::new(context),
        }
    }

    async fn open_socket(
        self,
        channel: SocketChannel,
        address: AddressKey,
        request: SocketUpgradeRequest,
    ) -> Result<Response> {
        let SocketUpgradeRequest {
            credential,
            resume,
            upgrade,
        } = request;
        let token = credential.as_ref().ok().and_then(SocketCredential::token);
        let client = ClientKey::new(address, token);
        // Clients with tickets share the limit of their address, and refused ones must not keep the others out.
        let is_ticket = matches!(credential, Ok(SocketCredential::Ticket(_)));
        if !is_ticket {
            self.refusals.check(client, Instant::now())?;
        }
        let upgrade = upgrade?;
        let Some(of_address) = self.by_address.enter(address) else {
            let refusal = SocketRefusal::too_many_connections_of_address();
            self.refusals.record(client, Instant::now());
            return Ok(self.refuse(upgrade, refusal));
        };
        match self.admit(credential).await {
            Ok(admitted) => {
                let context = self.context.clone();
                Ok(self.accept(upgrade, move |socket| async move {
                    let connection = SocketConnection::new(context, channel, admitted);
                    connection.run(socket, resume).await;
                    drop(of_address);
                }))
            }
            Err(SocketAdmissionError::Refused(refusal)) => {
                if is_ticket {
                    self.refusals.check(client, Instant::now())?;
                }
                self.refusals.record(client, Instant::now());
                Ok(self.refuse(upgrade, refusal))
            }
            // The token could not be checked: the client must try again.
            Err(SocketAdmissionError::Unknown(error)) => Err(error.into()),
        }
    }

    /// Accepts a socket and sends the refusal on it, because a browser cannot read the answer to a refused upgrade.
    fn refuse(&self, upgrade: WebSocketUpgrade, refusal: SocketRefusal) -> Response {
        let now = self.context.clock.now();
        self.accept(upgrade, move |socket| async move {
            refuse_socket(socket, &refusal, now).await;
        })
    }

    async fn admit(
        &self,
        credential: Result<SocketCredential, Error>,
    ) -> Result<AdmittedClient, SocketAdmissionError> {
        // Before the credential: a gateway that is not ready must not use up a ticket.
        let stream = self.hub.stream()?;
        let current_user = self.verify(credential?).await?;
        let viewer = self.hub.register(current_user.user_id).await?;
        if viewer.has_no_roles() {
            return Err(SocketAdmissionError::Refused(SocketRefusal::no_roles()));
        }
        Ok(AdmittedClient {
            current_user,
            viewer,
            stream,
        })
    }

    async fn verify(&self, credential: SocketCredential) -> Result<CurrentUser, Error> {
        let SocketContext {
            tokens,
            tickets,
            accepts_query_tokens,
            ..
        } = &*self.context;
        metrics::counter!(CREDENTIALS, "credential" => credential.name()).increment(1);
        match credential {
            SocketCredential::Token(token) => tokens.verify(&token).await,
            SocketCredential::QueryToken(token) if *accepts_query_tokens => {
                tokens.verify(&token).await
            }
            SocketCredential::QueryToken(_) => Err(query_token_refused()),
            SocketCredential::Ticket(ticket) => {
                let current_user = tickets.redeem(&ticket).await?;
                if tokens.is_revoked(&current_user).await? {
                    return Err(token::revoked_token());
                }
                Ok(current_user)
            }
        }
    }

    /// Serves the socket in a task that the stop of this process waits for. The HTTP server does not wait for
    /// upgraded connections.
    fn accept<F, Fut>(&self, upgrade: WebSocketUpgrade, serve: F) -> Response
    where
        F: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let lifecycle = self.context.lifecycle.clone();
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

fn query_token_refused() -> Error {
    Error::new(
        ErrorKind::Unauthenticated,
        "query_token_refused",
        "Send the token in a header, or a ticket in the address.",
    )
}

enum SocketAdmissionError {
    Refused(SocketRefusal),
    /// It could not be determined whether the client may connect.
    Unknown(Error),
}

impl From<Error> for SocketAdmissionError {
    fn from(error: Error) -> Self {
        match error.kind() {
            // The token of a deleted user is not valid either.
            ErrorKind::Unauthenticated | ErrorKind::NotFound => {
                Self::Refused(SocketRefusal::auth_failed(error.detail().to_owned()))
            }
            _ => Self::Unknown(error),
        }
    }
}

/// `/ws/feed`: listeners who come online, go offline, and become busy or available.
pub async fn feed(
    State(sockets): State<SocketService>,
    address: AddressKey,
    request: SocketUpgradeRequest,
) -> Result<Response> {
    sockets
        .open_socket(SocketChannel::Feed, address, request)
        .await
}

/// `/ws/presence`: changes of all users' statuses.
pub async fn presence(
    State(sockets): State<SocketService>,
    address: AddressKey,
    request: SocketUpgradeRequest,
) -> Result<Response> {
    sockets
        .open_socket(SocketChannel::Presence, address, request)
        .await
}

/// `/ws/calls`: the calls of the current user.
pub async fn calls(
    State(sockets): State<SocketService>,
    address: AddressKey,
    request: SocketUpgradeRequest,
) -> Result<Response> {
    sockets
        .open_socket(SocketChannel::Calls, address, request)
        .await
}

/// `/ws/notifications`: changes that concern only the current user.
pub async fn notifications(
    State(sockets): State<SocketService>,
    address: AddressKey,
    request: SocketUpgradeRequest,
) -> Result<Response> {
    sockets
        .open_socket(SocketChannel::Notifications, address, request)
        .await
}
