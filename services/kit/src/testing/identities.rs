//! An authority of a test's own, which issues identities.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    SanType,
};
use talktime_proto::access::v1::Workload;
use tempfile::TempDir;

use crate::config::IdentityConfig;
use crate::grpc::client::PeerConnector;
use crate::identity::WorkloadIdentity;
use crate::lifecycle::ProcessLifecycle;

/// An authority with a folder for the files of the identities that it issues; both end with the test.
pub struct TestAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

impl Default for TestAuthority {
    fn default() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, new_key()).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder");
        Self { issuer, folder }
    }
}

impl TestAuthority {
    /// Returns the certificate of the authority, as PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues an identity, which trusts this authority.
    pub fn issue(&self, process: Workload) -> IdentityConfig {
        self.issue_named(
            process.name(),
            &process.server_name(),
            &[process.spiffe_id()],
        )
    }

    /// Issues a certificate for any DNS name and URIs, in a folder of its own, since tests that share the authority
    /// issue at the same time.
    pub fn issue_named(&self, name: &str, dns_name: &str, uris: &[String]) -> IdentityConfig {
        let folder = tempfile::Builder::new()
            .prefix(name)
            .tempdir_in(&self.folder)
            .expect("a folder")
            .keep();
        replace_file(&folder.join("ca.crt"), &self.pem());
        self.write_certificate(&folder, dns_name, uris);
        IdentityConfig { folder }
    }

    /// Replaces the certificate of an identity, but not the authorities that it trusts.
    pub fn replace_certificate(&self, identity: &IdentityConfig, process: Workload) {
        let uris = [process.spiffe_id()];
        self.write_certificate(&identity.folder, &process.server_name(), &uris);
    }

    fn write_certificate(&self, folder: &Path, dns_name: &str, uris: &[String]) {
        let mut params = CertificateParams::new([dns_name.to_owned()]).expect("a DNS name");
        let uris = uris
            .iter()
            .map(|uri| uri.as_str().try_into().expect("ASCII"));
        params.subject_alt_names.extend(uris.map(SanType::URI));
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = new_key();
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        replace_file(&folder.join("tls.key"), &key.serialize_pem());
        replace_file(&folder.join("tls.crt"), &certificate.pem());
    }

    /// Returns the identity of a process, newly issued.
    pub fn identify(&self, process: Workload) -> WorkloadIdentity {
        let identity = WorkloadIdentity::load(&self.issue(process), &ProcessLifecycle::default());
        identity.expect("the files are valid")
    }

    /// Returns what connects to peers as this process.
    pub fn connector(&self, process: Workload) -> PeerConnector {
        PeerConnector::new(self.identify(process))
    }
}

/// Returns the identity of a process of the test stack. Needs the variables of `cargo dev env`.
pub fn stack_identity(process: Workload) -> WorkloadIdentity {
    let folder = PathBuf::from(super::variable("IDENTITIES_DIR")).join(process.name());
    let identity = WorkloadIdentity::load(&IdentityConfig { folder }, &ProcessLifecycle::default());
    identity.expect("the stack has issued it")
}

/// Returns what connects to the services of the test stack as this process.
pub fn stack_peers(process: Workload) -> PeerConnector {
    PeerConnector::new(stack_identity(process))
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

/// Makes an identity trust several authorities.
pub fn replace_trust(identity: &IdentityConfig, authorities: &[&TestAuthority]) {
    let pems = authorities.iter().map(|authority| authority.pem());
    replace_file(&identity.folder.join("ca.crt"), &pems.collect::<String>());
}

/// Replaces a file whole, as the mounted secrets of Kubernetes are replaced.
fn replace_file(path: &Path, content: &str) {
    let unfinished = path.with_extension("new");
    fs::write(&unfinished, content).expect("written");
    fs::rename(&unfinished, path).expect("renamed");
}
