//! Connections to the stores of the stack in their own protocols.

use std::io;
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
    let host = ServerName::from(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let secured = perform_handshake(stream, Path::new(&authority), host).await;
    secured.expect("the certificate is verified")
}

/// Performs the handshake with a server that must have a certificate of the authorities in a file for this host.
pub(super) async fn perform_handshake(
    stream: TcpStream,
    authorities: &Path,
    host: ServerName<'static>,
) -> io::Result<TlsStream<TcpStream>> {
    let trusted = trust_authorities(authorities).expect("readable authorities");
    let connector = TlsConnector::from(Arc::new(trusted));
    connector.connect(host, stream).await
}
