//! The authorities that issue the certificates of Redis, as its client verifies them. The client has no such thing as a
//! file of authorities; that of NATS has, and reads it for each connection, as the verifier here does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, ensure};
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// Returns the settings of connections to servers with a certificate of the authorities in this file, for the host name
/// in their address. The file is read for each new connection, so that authorities can be replaced without a restart.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(crate) fn trust_authorities(file: &Path) -> anyhow::Result<ClientConfig> {
    read_authorities(file)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = AuthorityFileVerifier {
        file: file.to_owned(),
        provider: provider.clone(),
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    // A session that is resumed would not be verified again.
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Reads authorities from a file with PEM.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(crate) fn read_authorities(file: &Path) -> anyhow::Result<RootCertStore> {
    let pem = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut authorities = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(&pem) {
        let authority = authority.with_context(|| format!("{}: no PEM", file.display()))?;
        authorities.add(authority)?;
    }
    ensure!(
        !authorities.is_empty(),
        "{} holds no certificate",
        file.display()
    );
    Ok(authorities)
}

/// Verifies a server against the authorities that the file holds at the moment of the handshake.
#[derive(Debug)]
struct AuthorityFileVerifier {
    file: PathBuf,
    provider: Arc<CryptoProvider>,
}

impl AuthorityFileVerifier {
    /// Reads one small file, too quick to be worth a thread.
    fn build_verifier(&self) -> anyhow::Result<Arc<WebPkiServerVerifier>> {
        let authorities = Arc::new(read_authorities(&self.file)?);
        let verifier =
            WebPkiServerVerifier::builder_with_provider(authorities, self.provider.clone());
        Ok(verifier.build()?)
    }
}

impl ServerCertVerifier for AuthorityFileVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verifier = self
            .build_verifier()
            .map_err(|error| Error::General(format!("{error:#}")))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
