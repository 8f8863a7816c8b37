//! The identity of this process on connections between services.
//!
//! Both sides of a connection present a certificate of one authority. A client requires the DNS name of the peer that
//! it wants to call, whatever address it has connected to; a server reads the process from the SPIFFE id of the
//! client, and `grpc::access` decides which methods that process may call. The files are read again periodically, so
//! that certificates can be short-lived: new connections use the new ones, and connections are short-lived too.

use std::fs;
use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use talktime_proto::access::v1::Workload;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use webpki::EndEntityCert;

use crate::config::IdentityConfig;
use crate::lifecycle::ProcessLifecycle;
use crate::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

/// How often the files are read.
const RELOAD_EVERY: Duration = Duration::from_secs(10);
/// Reading three small files.
const RELOAD_DEADLINE: Duration = Duration::from_secs(5);

/// The certificate of this process and the authorities that it trusts, always the latest ones; cheap to clone.
#[derive(Clone, Debug)]
pub struct WorkloadIdentity {
    current: watch::Receiver<Arc<IdentityMaterial>>,
}

/// The identity that was read from one state of the files.
#[derive(Debug)]
struct IdentityMaterial {
    files: IdentityFiles,
    server: Arc<ServerConfig>,
}

/// The contents of the files, in PEM.
#[derive(Debug, Eq, PartialEq)]
struct IdentityFiles {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authority: Vec<u8>,
}

impl WorkloadIdentity {
    /// Reads the identity, and keeps reading it in the background until the process stops.
    ///
    /// # Errors
    /// A file cannot be read, or does not contain what it should.
    pub fn load(config: &IdentityConfig, lifecycle: &ProcessLifecycle) -> anyhow::Result<Self> {
        Self::load_every(RELOAD_EVERY, config, lifecycle)
    }

    /// Reads the identity as [`WorkloadIdentity::load`] does, with an interval of its own.
    ///
    /// # Errors
    /// A file cannot be read, or does not contain what it should.
    pub fn load_every(
        interval: Duration,
        config: &IdentityConfig,
        lifecycle: &ProcessLifecycle,
    ) -> anyhow::Result<Self> {
        let material = IdentityMaterial::build(IdentityFiles::read(config)?)?;
        let (sender, current) = watch::channel(Arc::new(material));
        let config = config.clone();
        periodic::start(lifecycle, reload_work(interval), move || {
            ready(reload(&config, &sender))
        });
        Ok(Self { current })
    }

    /// Returns what performs the server's part of a handshake, with the certificate of this moment.
    #[cfg_attr(
        feature = "plaintext",
        expect(dead_code, reason = "connections in clear have no handshake")
    )]
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.borrow().server.clone())
    }

    /// Returns the settings of a connection to `peer`, with the certificate of this moment.
    pub fn client_tls(&self, peer: Workload) -> ClientTlsConfig {
        let material = self.current.borrow();
        let files = &material.files;
        ClientTlsConfig::new()
            .identity(Identity::from_pem(&files.certificate, &files.key))
            .ca_certificate(Certificate::from_pem(&files.authority))
            .domain_name(peer.server_name())
    }

    /// Returns the process that the certificate identifies.
    ///
    /// # Errors
    /// It identifies none.
    #[cfg(feature = "plaintext")]
    pub(crate) fn process(&self) -> anyhow::Result<Workload> {
        let chain = read_certificates(&self.current.borrow().files.certificate)?;
        let process = chain.first().and_then(identify_process);
        process.context("the certificate identifies no process")
    }

    /// Returns whether the files have changed since the last call on this clone.
    pub(crate) fn has_changed(&mut self) -> bool {
        let changed = self.current.has_changed().unwrap_or(false);
        self.current.mark_unchanged();
        changed
    }
}

fn reload_work(interval: Duration) -> PeriodicWork {
    PeriodicWork {
        name: "identity.reload".into(),
        interval,
        retry_after: interval,
        deadline: RELOAD_DEADLINE,
        first_turn: FirstTurnStart::AfterInterval,
    }
}

/// Replaces the identity if the files have changed. An unusable file leaves the last identity in use.
fn reload(
    config: &IdentityConfig,
    sender: &watch::Sender<Arc<IdentityMaterial>>,
) -> anyhow::Result<NextTurnStart> {
    let files = IdentityFiles::read(config)?;
    if files != sender.borrow().files {
        sender.send_replace(Arc::new(IdentityMaterial::build(files)?));
        tracing::info!("certificate replaced; new connections use it");
    }
    Ok(NextTurnStart::AfterInterval)
}

impl IdentityFiles {
    /// Reads three small files, which are mounted from memory or on a local disk: too quick to be worth a thread.
    fn read(config: &IdentityConfig) -> anyhow::Result<Self> {
        Ok(Self {
            certificate: read_file(&config.folder.join("tls.crt"))?,
            key: read_file(&config.folder.join("tls.key"))?,
            authority: read_file(&config.folder.join("ca.crt"))?,
        })
    }
}

/// Reads a whole file.
///
/// # Errors
/// The file cannot be read; the error names it.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

impl IdentityMaterial {
    fn build(files: IdentityFiles) -> anyhow::Result<Self> {
        let server = Arc::new(build_server_config(&files)?);
        Ok(Self { files, server })
    }
}

/// Returns the server's settings: clients must present a certificate of the authority.
fn build_server_config(files: &IdentityFiles) -> anyhow::Result<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let authorities = read_authorities(&files.authority).context("authority")?;
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider.clone())
            .build()?;
    let chain = read_certificates(&files.certificate).context("certificate")?;
    let key = PrivateKeyDer::from_pem_slice(&files.key).context("private key")?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// Reads the certificates of authorities in PEM, each of which may then issue trusted certificates.
///
/// # Errors
/// The text is no PEM, or holds no certificate.
pub(crate) fn read_authorities(pem: &[u8]) -> anyhow::Result<RootCertStore> {
    let mut authorities = RootCertStore::empty();
    for authority in read_certificates(pem)? {
        authorities.add(authority)?;
    }
    Ok(authorities)
}

fn read_certificates(pem: &[u8]) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>()?;
    ensure!(!certificates.is_empty(), "the file holds no certificate");
    Ok(certificates)
}

/// Returns the process that a verified certificate identifies. A certificate with several URIs identifies none.
pub(crate) fn identify_process(certificate: &CertificateDer<'_>) -> Option<Workload> {
    let certificate = EndEntityCert::try_from(certificate).ok()?;
    let mut uris = certificate.valid_uri_names();
    let process = Workload::from_spiffe_id(uris.next()?)?;
    uris.next().is_none().then_some(process)
}
