//! Clients of Redis and NATS log in only to a server that has a certificate of the configured authority for the host in
//! their address. The server of these tests performs handshakes, and returns what clients send it after them.

use std::any::Any;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use talktime_kit::config::{IdentityConfig, NatsConfig, RedisConfig};
use talktime_kit::testing::{TestAuthority, WAIT_MAX, replace_trust};
use talktime_kit::{messaging, redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// The host in the addresses of clients.
const HOST: &str = "127.0.0.1";
const PASSWORD: &str = "a-password";
/// Connections that clients may make before one trusts a file that was replaced.
const ATTEMPTS_MAX: usize = 50;

/// A store that a client reaches over TLS.
#[derive(Clone, Copy, Debug)]
enum StoreKind {
    Redis,
    Nats,
}

impl StoreKind {
    const ALL: [Self; 2] = [Self::Redis, Self::Nats];

    /// Returns what a server sends before the handshake.
    fn greeting(self) -> &'static str {
        match self {
            Self::Redis => "",
            Self::Nats => {
                "INFO {\"server_id\":\"S\",\"server_name\":\"S\",\"version\":\"2.10.0\",\"go\":\"go1\",\
                 \"host\":\"127.0.0.1\",\"port\":4222,\"headers\":true,\"max_payload\":1048576,\"proto\":1,\
                 \"tls_required\":true}\r\n"
            }
        }
    }

    /// Starts a client that trusts the authority of this identity. It connects in the background for as long as it lives.
    async fn start_client(self, port: u16, trusted: &IdentityConfig) -> Box<dyn Any> {
        let ca_file = Some(trusted.folder.join("ca.crt"));
        match self {
            Self::Redis => {
                let url = format!("rediss://auth:{PASSWORD}@{HOST}:{port}").into();
                let client = redis::connect(&RedisConfig { url, ca_file });
                Box::new(client.expect("valid settings"))
            }
            Self::Nats => {
                let config = NatsConfig {
                    url: format!("tls://{HOST}:{port}"),
                    ca_file,
                    password: PASSWORD.into(),
                };
                let client = messaging::connect(&config, "auth").await;
                Box::new(client.expect("valid settings"))
            }
        }
    }
}

/// A server with a certificate, which takes one connection after another.
struct CertifiedServer {
    kind: StoreKind,
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl CertifiedServer {
    async fn start(kind: StoreKind, identity: &IdentityConfig) -> Self {
        let chain = CertificateDer::pem_file_iter(identity.folder.join("tls.crt"));
        let chain: Result<Vec<_>, _> = chain.expect("readable").collect();
        let key = PrivateKeyDer::from_pem_file(identity.folder.join("tls.key"));
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain.expect("PEM"), key.expect("PEM"));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        Self {
            kind,
            listener: listener.expect("a free port"),
            acceptor: TlsAcceptor::from(Arc::new(config.expect("a certificate with its key"))),
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("bound").port()
    }

    /// Takes a connection and returns the beginning of what the client sends after the handshake, or the error with which the
    /// handshake ended.
    async fn serve_next(&self) -> io::Result<String> {
        let serving = async {
            let (mut stream, _) = self.listener.accept().await?;
            stream.write_all(self.kind.greeting().as_bytes()).await?;
            let mut stream = self.acceptor.accept(stream).await?;
            let mut login = vec![0; 1024];
            let length = stream.read(&mut login).await?;
            Ok(String::from_utf8_lossy(&login[..length]).into_owned())
        };
        timeout(WAIT_MAX, serving).await.expect("a client in time")
    }
}

/// Lets a client that trusts one authority connect to a server with a certificate of another identity.
async fn connect(
    kind: StoreKind,
    trusted: &IdentityConfig,
    server: &IdentityConfig,
) -> io::Result<String> {
    let server = CertifiedServer::start(kind, server).await;
    let _client = kind.start_client(server.port(), trusted).await;
    server.serve_next().await
}

fn issue(authority: &TestAuthority, host: &str) -> IdentityConfig {
    authority.issue_named("store", host, &[])
}

/// Asserts that the client has ended the handshake, so that no password was sent.
fn assert_refused(outcome: io::Result<String>, what: &str) {
    let error = outcome.expect_err(what).to_string();
    assert!(error.contains("alert"), "{what}: {error}");
}

#[tokio::test]
async fn a_client_logs_in_to_a_server_with_a_certificate_of_its_authority() {
    let authority = TestAuthority::default();
    let identity = issue(&authority, HOST);
    for kind in StoreKind::ALL {
        let login = connect(kind, &identity, &identity).await;
        let login = login.expect("the handshake succeeds");
        assert!(login.contains(PASSWORD), "{kind:?}: {login}");
    }
}

#[tokio::test]
async fn a_client_refuses_a_certificate_of_another_authority() {
    let (authority, other) = (TestAuthority::default(), TestAuthority::default());
    let (trusted, server) = (issue(&authority, HOST), issue(&other, HOST));
    for kind in StoreKind::ALL {
        let outcome = connect(kind, &trusted, &server).await;
        assert_refused(outcome, &format!("{kind:?} of another authority"));
    }
}

#[tokio::test]
async fn a_client_refuses_a_certificate_for_another_host() {
    let authority = TestAuthority::default();
    for name in ["redis.example.com", "127.0.0.2"] {
        let (trusted, server) = (issue(&authority, HOST), issue(&authority, name));
        for kind in StoreKind::ALL {
            let outcome = connect(kind, &trusted, &server).await;
            assert_refused(outcome, &format!("{kind:?} at {name}"));
        }
    }
}

#[tokio::test]
async fn a_client_trusts_a_replaced_authority_without_a_restart() {
    let (authority, other) = (TestAuthority::default(), TestAuthority::default());
    for kind in StoreKind::ALL {
        let trusted = issue(&authority, HOST);
        let server = CertifiedServer::start(kind, &issue(&other, HOST)).await;
        let _client = kind.start_client(server.port(), &trusted).await;
        assert_refused(server.serve_next().await, "an unknown authority");
        replace_trust(&trusted, &[&authority, &other]);
        let mut login = None;
        // Connections that had begun may still be refused.
        for _ in 0..ATTEMPTS_MAX {
            login = server.serve_next().await.ok();
            if login.is_some() {
                break;
            }
        }
        let login = login.expect("the new authority is trusted");
        assert!(login.contains(PASSWORD), "{kind:?}: {login}");
    }
}

#[tokio::test]
async fn a_client_does_not_start_without_its_authority() {
    let missing = IdentityConfig {
        folder: "/nowhere".into(),
    };
    let ca_file = Some(missing.folder.join("ca.crt"));
    let redis = redis::connect(&RedisConfig {
        url: "rediss://127.0.0.1:1".into(),
        ca_file: ca_file.clone(),
    });
    let config = NatsConfig {
        url: "tls://127.0.0.1:1".to_owned(),
        ca_file,
        password: PASSWORD.into(),
    };
    let nats = messaging::connect(&config, "auth").await;
    let errors = [
        redis.expect_err("there is no file"),
        nats.expect_err("there is no file"),
    ];
    for error in errors {
        assert!(
            format!("{error:#}").contains("/nowhere/ca.crt"),
            "{error:#}"
        );
    }
}
