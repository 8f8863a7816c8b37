//! The public port: HTTP/1.1 and HTTP/2 side by side, with limits against clients that hold connections without
//! sending requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::config::PublicHttpConfig;
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
    let connections = TaskTracker::new();
    let server = Arc::new(HttpConnectionServer {
        protocols: protocols(head_timeout),
        router,
        head_timeout,
        stopping,
        connections: connections.clone(),
    });
    let slots = Arc::new(Semaphore::new(config.connections_max));
    while let Some((stream, peer, slot)) = accept(&listener, &slots, &server.stopping).await {
        connections.spawn(server.clone().serve_connection(stream, peer, slot));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

/// Accepts the next connection once there is a slot for it. Returns `None` when the server stops.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
    stopping: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let slot = slots.clone().acquire_owned().await;
            let slot = slot.expect("the semaphore is never closed");
            listener
                .accept()
                .await
                .map(|(stream, peer)| (stream, peer, slot))
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok(connection) => return Some(connection),
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection; will retry");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            () = stopping.cancelled() => return None,
        }
    }
}

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
    stopping: CancellationToken,
    connections: TaskTracker,
}

impl HttpConnectionServer {
    /// Serves one connection. The first bytes decide on the protocol, and only the time-out here bounds the wait
    /// for them; later waits have the time-outs of the protocol.
    async fn serve_connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        _slot: OwnedSemaphorePermit,
    ) {
        let gauge = metrics::gauge!("http_server_connections");
        gauge.increment(1);
        // Fails only for a connection that has ended already.
        let _ = stream.set_nodelay(true);
        let has_requests = Arc::new(AtomicBool::new(false));
        let service = service_fn(|request: Request<Incoming>| {
            has_requests.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            self.router.clone().call(request)
        });
        let stream = LingeringStream::new(stream, self.connections.clone());
        let stream = TokioIo::new(stream);
        let connection = self
            .protocols
            .serve_connection_with_upgrades(stream, service);
        let mut connection = std::pin::pin!(connection);
        let mut first_request = std::pin::pin!(tokio::time::sleep(self.head_timeout));
        let (mut is_waiting, mut is_stopping) = (true, false);
        loop {
            tokio::select! {
                // Most errors are caused by clients, so they are not logged.
                _ = connection.as_mut() => break,
                () = &mut first_request, if is_waiting => {
                    if !has_requests.load(Ordering::Relaxed) {
                        break;
                    }
                    is_waiting = false;
                }
                () = self.stopping.cancelled(), if !is_stopping => {
                    connection.as_mut().graceful_shutdown();
                    is_stopping = true;
                }
            }
        }
        gauge.decrement(1);
    }
}
