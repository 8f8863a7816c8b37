//! Connections with TLS.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use talktime_proto::access::v1::Workload;
use tokio::net::TcpStream;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;
use tonic::transport::Endpoint;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};

use crate::identity::{WorkloadIdentity, identify_process};

/// A connection of a client that has completed its handshake.
pub(in crate::grpc) type ServerConnection = TlsStream<TcpStream>;

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
) -> io::Result<ServerConnection> {
    identity.acceptor().accept(connection).await
}

/// Returns the process at the other end of the connection, if its certificate names one.
pub(in crate::grpc) fn find_caller(request: &Request) -> Option<Workload> {
    let connection = request
        .extensions()
        .get::<TlsConnectInfo<TcpConnectInfo>>()?;
    let chain: Arc<Vec<CertificateDer<'static>>> = connection.peer_certs()?;
    identify_process(chain.first()?)
}
