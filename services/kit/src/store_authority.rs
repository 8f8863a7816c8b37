//! The authorities that issue the certificates of Redis, as its client verifies them. The client has no such thing as a
//! file of authorities; that of NATS has, and reads it for each connection, as the verifier here does.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::client::{Resumption, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{
    CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

use crate::identity::{read_authorities, read_file};

/// Returns the settings of connections to servers with a certificate of the authorities in this file, for the host name
/// in their address. The file is read for each new connection, so that authorities can be replaced without a restart.
///
/// # Errors
/// The file cannot be read, or holds no certificate.
pub(crate) fn trust_authorities(file: &Path) -> anyhow::Result<ClientConfig> {
    read_authority_file(file)?;
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
/// The file cannot be read, or holds no certificate; the error names it.
pub(crate) fn read_authority_file(file: &Path) -> anyhow::Result<RootCertStore> {
    let pem = read_file(file)?;
    read_authorities(&pem).with_context(|| file.display().to_string())
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
        let authorities = Arc::new(read_authority_file(&self.file)?);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_authorities_is_refused_by_its_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ca.crt");
        for (content, reason) in [(None, "cannot read"), (Some("no PEM"), "no certificate")] {
            if let Some(content) = content {
                std::fs::write(&file, content).expect("written");
            }
            let refused = read_authority_file(&file).expect_err(reason);
            let message = format!("{refused:#}");
            assert!(message.contains(reason), "{message}");
            assert!(message.contains(&file.display().to_string()), "{message}");
        }
    }
}
