//! Connections to the stores of the stack in their own protocols.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
pub use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::store_authority::trust_authorities;

/// Performs the handshake of TLS with a store of the stack on this machine, whose authority is in the file that the variable
/// names.
pub async fn secure_stream(stream: TcpStream, ca_file_variable: &str) -> TlsStream<TcpStream> {
    let authority = super::variable(ca_file_variable);
    let trusted = trust_authorities(Path::new(&authority)).expect("the stack has issued it");
    let host = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let connecting = TlsConnector::from(Arc::new(trusted)).connect(host, stream);
    connecting.await.expect("the certificate is verified")
}
