//! Connections with TLS.

use std::io::Result;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::Request;
use talktime_proto::access::v1::Workload;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::Endpoint;
use tonic::transport::server::Connected;

use crate::identity::{WorkloadIdentity, identify_process};

/// A connection of a client that has completed its handshake. The certificate is read here, once, and not for each
/// request: it is the same for as long as the connection exists.
pub(in crate::grpc) struct ServerConnection {
    stream: TlsStream<TcpStream>,
    client: ConnectedProcess,
}

/// The process at the other end of a connection, if its certificate names one.
#[derive(Clone, Copy, Debug)]
pub(in crate::grpc) struct ConnectedProcess(Option<Workload>);

/// Returns an endpoint of `peer` at an address, with the certificate of this moment.
pub(in crate::grpc) fn build_endpoint(
    identity: &WorkloadIdentity,
    peer: Workload,
    address: SocketAddr,
) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("https://{address}"))?;
    Ok(endpoint.tls_config(identity.client_tls(peer))?)
}

/// Performs the server's part of a handshake.
pub(in crate::grpc) async fn accept(
    identity: &WorkloadIdentity,
    connection: TcpStream,
) -> Result<ServerConnection> {
    let stream = identity.acceptor().accept(connection).await?;
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    let client = ConnectedProcess(certificate.and_then(identify_process));
    Ok(ServerConnection { stream, client })
}

/// Returns the process at the other end of the connection, if its certificate names one.
pub(in crate::grpc) fn find_caller(request: &Request) -> Option<Workload> {
    let ConnectedProcess(caller) = request.extensions().get::<ConnectedProcess>()?;
    *caller
}

impl Connected for ServerConnection {
    type ConnectInfo = ConnectedProcess;

    fn connect_info(&self) -> ConnectedProcess {
        self.client
    }
}

impl AsyncRead for ServerConnection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for ServerConnection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
