//! Servers of Redis and NATS of one test's own.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use talktime_proto::access::BUS_OPERATOR;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio_rustls::rustls::pki_types::ServerName;

use super::store_streams::perform_handshake;
use super::{find_free_port, send_signal};
use crate::config::{IdentityConfig, NatsConfig, RedisConfig};

/// The host in the addresses of servers with a certificate.
const HOST: &str = "localhost";
const PASSWORD: &str = "private";
const CERTIFICATE_FILES: [&str; 2] = ["tls.crt", "tls.key"];

/// A Redis that is reached over TLS alone, at `localhost`. It ends, and its folder is removed, when the value is dropped.
pub struct PrivateRedis {
    _server: Child,
    folder: TempDir,
    port: u16,
}

impl PrivateRedis {
    /// Starts a server with the certificate of an identity. Does not wait until it answers.
    pub fn start(identity: &IdentityConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [certificate, key] = copy_certificate(identity, folder.path());
        let port = find_free_port();
        let mut command = Command::new("redis-server");
        command
            .args(["--bind", "127.0.0.1", "--requirepass", PASSWORD])
            .args(["--port", "0", "--tls-port", &port.to_string()])
            .args(["--tls-auth-clients", "no", "--tls-cert-file"])
            .arg(certificate)
            .arg("--tls-key-file")
            .arg(key)
            .args(["--appendonly", "no", "--save", "", "--dir"])
            .arg(folder.path());
        Self {
            _server: spawn_server(command),
            folder,
            port,
        }
    }

    /// Makes the server load the certificate of an identity, with the command of `k8s/components/redis/start-redis`.
    pub async fn install_certificate(&self, identity: &IdentityConfig) {
        let [certificate, key] = copy_certificate(identity, self.folder.path());
        let loading = Command::new("redis-cli")
            .env("REDISCLI_AUTH", PASSWORD)
            .args(["-e", "--tls", "--insecure", "-p", &self.port.to_string()])
            .args(["CONFIG", "SET", "tls-cert-file"])
            .arg(certificate)
            .arg("tls-key-file")
            .arg(key)
            .stdout(Stdio::null())
            .status();
        assert!(loading.await.expect("redis-cli runs").success());
    }

    /// The settings of a client that trusts the authorities of a file.
    pub fn config(&self, authorities: &Path) -> RedisConfig {
        RedisConfig {
            url: format!("rediss://default:{PASSWORD}@{HOST}:{}", self.port).into(),
            ca_file: Some(authorities.to_owned()),
        }
    }

    /// Returns whether clients that trust the authorities of a file accept the server.
    pub async fn is_trusted(&self, authorities: &Path) -> bool {
        let Ok(stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await else {
            return false;
        };
        let host = ServerName::try_from(HOST).expect("a DNS name");
        let secured = perform_handshake(stream, authorities, host).await;
        secured.is_ok()
    }
}

/// A NATS server with JetStream. It ends, and its folder is removed, when the value is dropped.
pub struct PrivateNats {
    server: Child,
    folder: TempDir,
    port: u16,
}

impl PrivateNats {
    /// Starts a server that wants neither TLS nor a password. Does not wait until it answers.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), "")
    }

    /// Starts a server with the certificate of an identity, at `localhost`, which wants TLS and the password of the operator.
    /// Does not wait until it answers.
    pub fn start_encrypted(identity: &IdentityConfig) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [certificate, key] = copy_certificate(identity, folder.path());
        let (certificate, key) = (certificate.display(), key.display());
        let settings = format!(
            "tls {{ cert_file: \"{certificate}\", key_file: \"{key}\" }}\n\
             authorization {{ users: [{{ user: {BUS_OPERATOR}, password: {PASSWORD} }}] }}\n"
        );
        Self::start_in(folder, &settings)
    }

    fn start_in(folder: TempDir, settings: &str) -> Self {
        let port = find_free_port();
        let config = folder.path().join("nats.conf");
        // Without a size, the stream is refused on a disk with little space. A folder that is given as an argument would
        // make the server refuse to load its configuration again.
        let store = folder.path().display();
        let settings =
            format!("{settings}jetstream {{ max_file_store: 9GiB, store_dir: \"{store}\" }}\n");
        fs::write(&config, settings).expect("written");
        let mut command = Command::new("nats-server");
        command
            .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"])
            .arg(config);
        Self {
            server: spawn_server(command),
            folder,
            port,
        }
    }

    /// Makes the server load the certificate of an identity, with the signal that `nats-server --signal reload` sends.
    pub async fn install_certificate(&self, identity: &IdentityConfig) {
        copy_certificate(identity, self.folder.path());
        self.signal("HUP").await;
    }

    /// Sends a signal, such as `STOP`, to the server.
    pub async fn signal(&self, name: &str) {
        let pid = self.server.id().expect("it runs").to_string();
        send_signal(name, &pid).await;
    }

    /// The address of a server without TLS.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// The settings of the operator who trusts the authorities of a file.
    pub fn config(&self, authorities: &Path) -> NatsConfig {
        NatsConfig {
            url: format!("tls://{HOST}:{}", self.port),
            ca_file: Some(authorities.to_owned()),
            password: PASSWORD.into(),
        }
    }
}

/// Copies the certificate and the key of an identity into the folder of a server; returns their paths there.
fn copy_certificate(identity: &IdentityConfig, folder: &Path) -> [PathBuf; 2] {
    CERTIFICATE_FILES.map(|name| {
        let installed = folder.join(name);
        fs::copy(identity.folder.join(name), &installed).expect("copied");
        installed
    })
}

fn spawn_server(mut command: Command) -> Child {
    let server = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    server.expect("the server is installed")
}
