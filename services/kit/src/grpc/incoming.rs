//! Connections to the gRPC server. Each has completed its TLS handshake before it counts.

use std::io;
use std::time::Duration;

use futures::future::ready;
use futures::{Stream, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::TcpListenerStream;

use super::joined_writes::JoinedWrites;
use super::transport::{self, ServerConnection};
use crate::deadlines::TLS_HANDSHAKE;
use crate::identity::WorkloadIdentity;

/// Handshakes under way at once; further connections wait.
const HANDSHAKES_CONCURRENT_MAX: usize = 256;
/// Pause after a connection could not be accepted, since files or memory are exhausted then.
const ACCEPT_RETRY_AFTER: Duration = Duration::from_millis(50);

/// Returns the connections of processes with a certificate of the authority.
pub(super) fn accept_connections(
    listener: TcpListener,
    identity: WorkloadIdentity,
) -> impl Stream<Item = io::Result<JoinedWrites<ServerConnection>>> {
    TcpListenerStream::new(listener)
        .map(move |accepted| shake_hands(accepted, identity.clone()))
        .buffer_unordered(HANDSHAKES_CONCURRENT_MAX)
        .filter_map(|connection| ready(connection.map(JoinedWrites::new).map(Ok)))
}

/// Performs a handshake; returns nothing if it fails, since only the client can do something about it.
async fn shake_hands(
    accepted: io::Result<TcpStream>,
    identity: WorkloadIdentity,
) -> Option<ServerConnection> {
    let connection = match accepted {
        Ok(connection) => connection,
        Err(error) => {
            tracing::warn!(%error, "failed to accept a connection; the next one is accepted after a pause");
            sleep(ACCEPT_RETRY_AFTER).await;
            return None;
        }
    };
    // Fails only if the client has disconnected, and then the handshake fails, too.
    let _ = connection.set_nodelay(true);
    let handshake = timeout(TLS_HANDSHAKE, transport::accept(&identity, connection)).await;
    let error = match handshake {
        Ok(Ok(connection)) => return Some(connection),
        Ok(Err(error)) => error,
        Err(_elapsed) => io::ErrorKind::TimedOut.into(),
    };
    metrics::counter!("grpc_refused_handshakes_total").increment(1);
    tracing::debug!(%error, "a client failed its handshake; its connection is closed");
    None
}
