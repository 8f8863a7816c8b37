//! The port that the world reaches: HTTP/1.1 and HTTP/2 side by side, and nobody who holds a
//! connection without asking for anything.

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

use crate::config::HttpConfig;
use crate::lingering::LingeringStream;

/// A whole request head must fit. What is larger than what [`crate::middleware`] allows but fits is
/// answered with a problem document; beyond it, with a bare 431.
const HEAD_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 100;
const STREAMS_MAX: u32 = 128;
const PING_EVERY: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// When the system has no more files to give.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stopping`, then until every connection has finished what it had begun.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: &HttpConfig,
    stopping: CancellationToken,
) -> std::io::Result<()> {
    let head_timeout = Duration::from_millis(config.head_timeout_ms);
    let shared = Arc::new(Shared {
        protocols: protocols(head_timeout),
        router,
        head_timeout,
        stopping,
    });
    let places = Arc::new(Semaphore::new(config.connections_max));
    let connections = TaskTracker::new();
    while let Some((stream, peer, place)) = next(&listener, &places, &shared.stopping).await {
        connections.spawn(shared.clone().connection(stream, peer, place));
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

/// The next connection, once there is a place for it; none when we are stopping.
async fn next(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stopping: &CancellationToken,
) -> Option<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let place = places.clone().acquire_owned().await;
            let place = place.expect("the semaphore is never closed");
            listener
                .accept()
                .await
                .map(|(stream, peer)| (stream, peer, place))
        };
        tokio::select! {
            accepted = accepted => match accepted {
                Ok(connection) => return Some(connection),
                Err(error) => {
                    tracing::warn!(%error, "accept");
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

/// What connections have in common.
struct Shared {
    protocols: Builder<TokioExecutor>,
    router: Router,
    head_timeout: Duration,
    stopping: CancellationToken,
}

impl Shared {
    /// Serves one connection. Which protocol it speaks shows in its first bytes, and nothing but the
    /// time-out here bounds how long those take to come; later ones are the protocols' own.
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        _place: OwnedSemaphorePermit,
    ) {
        let gauge = metrics::gauge!("http_server_connections");
        gauge.increment(1);
        // Fails only for a connection that is gone already.
        let _ = stream.set_nodelay(true);
        let has_asked = Arc::new(AtomicBool::new(false));
        let service = service_fn(|request: Request<Incoming>| {
            has_asked.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            self.router.clone().call(request)
        });
        let connection = self
            .protocols
            .serve_connection_with_upgrades(TokioIo::new(LingeringStream::new(stream)), service);
        let mut connection = std::pin::pin!(connection);
        let mut first_request = std::pin::pin!(tokio::time::sleep(self.head_timeout));
        let (mut is_waiting, mut is_stopping) = (true, false);
        loop {
            tokio::select! {
                // How connections end is their clients' business.
                _ = connection.as_mut() => break,
                () = &mut first_request, if is_waiting => {
                    if !has_asked.load(Ordering::Relaxed) {
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
