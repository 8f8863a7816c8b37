//! The public port: HTTP/1.1 and HTTP/2 side by side, with limits against clients that hold connections without
//! sending requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::address_counts::AddressCounts;
use crate::client_stream::{ClientStream, ConnectionSlot};
use crate::config::PublicHttpConfig;
use crate::connection_activity::{ConnectionActivity, IdleCheck, RunningRequest, TrackedBody};
use crate::extract::{AddressKey, TrustedProxies};
use crate::lingering::LingeringStream;

/// Bound of a request head. A smaller head that [`crate::middleware`] still refuses is answered with a problem
/// document, a larger one with a bare 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
const STREAMS_MAX: u32 = 128;
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after a failed accept, for example because the process has too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping`, then until every connection has finished its requests.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &PublicHttpConfig,
    stopping: CancellationToken,
) -> std::io::Result<()> {
    let head_timeout = Duration::from_millis(config.head_timeout_ms);
    let idle_timeout = Duration::from_millis(config.idle_timeout_ms);
    let connections = TaskTracker::new();
    let server = Arc::new(HttpConnectionServer {
        protocols: protocols(head_timeout + idle_timeout),
        router,
        head_timeout,
        idle_timeout,
        stopping,
        connections: connections.clone(),
    });
    let acceptor = ConnectionAcceptor::new(listener, config);
    while let Some((stream, peer, slot)) = acceptor.accept(&server.stopping).await {
        connections.spawn(server.clone().serve_connection(stream, peer, slot));
    }
    drop(acceptor);
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Accepts connections within the limits.
struct ConnectionAcceptor {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    by_address: AddressCounts,
    proxies: TrustedProxies,
}

impl ConnectionAcceptor {
    fn new(listener: TcpListener, config: &PublicHttpConfig) -> Self {
        Self {
            listener,
            slots: Arc::new(Semaphore::new(config.connections_max)),
            by_address: AddressCounts::new("connections", config.connections_per_address_max),
            proxies: TrustedProxies::new(&config.trusted_proxies, config.trusted_hops),
        }
    }

    /// Accepts the next connection once there is a slot for it. Returns `None` when the server stops. A connection
    /// of an address that has as many as it may is closed.
    async fn accept(
        &self,
        stopping: &CancellationToken,
    ) -> Option<(TcpStream, SocketAddr, ConnectionSlot)> {
        loop {
            let accepted = async {
                let slot = self.slots.clone().acquire_owned().await;
                let slot = slot.expect("the semaphore is never closed");
                let accepted = self.listener.accept().await;
                accepted.map(|(stream, peer)| (stream, peer, slot))
            };
            tokio::select! {
                accepted = accepted => match accepted {
                    Ok((stream, peer, slot)) => if let Some(slot) = self.count(peer, slot) {
                        return Some((stream, peer, slot));
                    },
                    Err(error) => {
                        tracing::warn!(%error, "failed to accept a connection; will retry");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                () = stopping.cancelled() => return None,
            }
        }
    }

    /// Counts a connection for its address, unless it is a proxy's, which has the connections of many clients.
    fn count(&self, peer: SocketAddr, slot: OwnedSemaphorePermit) -> Option<ConnectionSlot> {
        if self.proxies.is_proxy(peer.ip()) {
            return Some(ConnectionSlot::new(slot, None));
        }
        let of_address = self.by_address.enter(AddressKey::from(peer.ip()))?;
        Some(ConnectionSlot::new(slot, Some(of_address)))
    }
}

/// `head_timeout` bounds the pause between two requests together with the head of the second one.
fn protocols(head_timeout: Duration) -> Builder<TokioExecutor> {
    let mut protocols = Builder::new(TokioExecutor::new());
    protocols
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    protocols
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    protocols
}

/// Serves connections.
struct HttpConnectionServer {
    protocols: Builder<TokioExecutor>,
    router: Router,
    head_timeout: Duration,
    idle_timeout: Duration,
    stopping: CancellationToken,
    connections: TaskTracker,
}

impl HttpConnectionServer {
    /// Serves one connection. The first bytes decide on the protocol, and only the time-out here bounds the wait
    /// for the first request, and in HTTP/2 the pause between requests.
    async fn serve_connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        slot: ConnectionSlot,
    ) {
        // Fails only for a connection that has ended already.
        let _ = stream.set_nodelay(true);
        let activity = ConnectionActivity::new();
        let service = service_fn(|request: Request<Incoming>| {
            let running = activity.begin_request(request.version());
            answer_request(self.router.clone(), request, peer, running)
        });
        let stream = LingeringStream::new(stream, self.connections.clone());
        let stream = ClientStream::new(stream, activity.clone(), self.head_timeout, slot);
        let connection = self
            .protocols
            .serve_connection_with_upgrades(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut idle_timer = std::pin::pin!(tokio::time::sleep(self.head_timeout));
        let mut is_ending = false;
        loop {
            tokio::select! {
                // Most errors are caused by clients, so they are not logged.
                _ = connection.as_mut() => break,
                () = &mut idle_timer => match activity.check_idle(self.idle_timeout) {
                    IdleCheck::CheckAt(due) => idle_timer.as_mut().reset(due),
                    IdleCheck::Idle if !is_ending => {
                        connection.as_mut().graceful_shutdown();
                        is_ending = true;
                        // For a client of HTTP/2, which may have sent a request just now.
                        idle_timer.as_mut().reset(Instant::now() + self.head_timeout);
                    }
                    IdleCheck::NoRequest | IdleCheck::Idle => break,
                },
                () = self.stopping.cancelled(), if !is_ending => {
                    connection.as_mut().graceful_shutdown();
                    is_ending = true;
                }
            }
        }
    }
}

async fn answer_request(
    mut router: Router,
    request: Request<Incoming>,
    peer: SocketAddr,
    running: RunningRequest,
) -> Result<Response<TrackedBody>, Infallible> {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(ConnectInfo(peer));
    let answer = router.call(request).await?;
    Ok(running.run_until_sent(answer))
}
