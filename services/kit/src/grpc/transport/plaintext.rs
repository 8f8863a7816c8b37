//! Connections in clear, whose clients name themselves in the header `user-agent`.

use std::future::ready;
use std::io;
use std::net::SocketAddr;

use axum::extract::Request;
use http::header::USER_AGENT;
use talktime_proto::access::v1::Workload;
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

use crate::identity::WorkloadIdentity;

/// A connection of a client.
pub(in crate::grpc) type ServerConnection = TcpStream;

/// Returns an endpoint of a peer at an address, whose requests name the process of this identity.
pub(in crate::grpc) fn build_endpoint(
    identity: &WorkloadIdentity,
    _peer: Workload,
    address: SocketAddr,
) -> anyhow::Result<Endpoint> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.user_agent(identity.process()?.spiffe_id())?)
}

/// Returns the connection as it is.
pub(in crate::grpc) fn accept(
    _identity: &WorkloadIdentity,
    connection: TcpStream,
) -> impl Future<Output = io::Result<ServerConnection>> {
    ready(Ok(connection))
}

/// Returns the process that a request names.
pub(in crate::grpc) fn find_caller(request: &Request) -> Option<Workload> {
    let agent = request.headers().get(USER_AGENT)?.to_str().ok()?;
    Workload::from_spiffe_id(agent.split(' ').next()?)
}
