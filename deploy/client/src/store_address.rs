//! The stores behind the API, which tools and tests read from.

use std::env;
use std::path::PathBuf;

use anyhow::Context;
use async_nats::ConnectOptions;
use fred::prelude::Config;
use fred::rustls::pki_types::CertificateDer;
use fred::rustls::pki_types::pem::PemObject;
use fred::rustls::{ClientConfig, RootCertStore};
use fred::types::config::TlsConnector;

/// The address of a store, with the file of the authority that has issued its certificate.
#[derive(Clone, Debug)]
pub struct StoreAddress {
    url: String,
    ca_file: Option<PathBuf>,
}

impl StoreAddress {
    /// Reads `<store>_URL` and `<store>_CA_FILE`, as `cargo dev env` prints them. Stores without TLS need no file.
    ///
    /// # Errors
    /// The address is not set.
    pub fn from_variables(store: &str) -> anyhow::Result<Self> {
        let name = format!("{store}_URL");
        let url = env::var(&name).with_context(|| format!("{name} is not set"))?;
        let ca_file = env::var_os(format!("{store}_CA_FILE")).map(PathBuf::from);
        Ok(Self { url, ca_file })
    }

    /// Returns the URL with the user and the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the settings of a client of Redis, which verifies the certificate of the server.
    ///
    /// # Errors
    /// The address is none of Redis, or the file cannot be read.
    pub fn redis_config(&self) -> anyhow::Result<Config> {
        let Some(file) = self
            .ca_file
            .as_ref()
            .filter(|_| self.url.starts_with("rediss"))
        else {
            return Ok(Config::from_url(&self.url)?);
        };
        let mut authorities = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file)
            .with_context(|| format!("cannot read {}", file.display()))?;
        for authority in certificates {
            authorities.add(authority?)?;
        }
        let trusted = ClientConfig::builder()
            .with_root_certificates(authorities)
            .with_no_client_auth();
        // With the scheme of TLS, the client would load the authorities of the system, which are not asked.
        let mut config = Config::from_url(&self.url.replacen("rediss", "redis", 1))?;
        config.tls = Some(TlsConnector::from(trusted).into());
        Ok(config)
    }

    /// Returns the settings of a client of NATS, which verifies the certificate of a server that encrypts.
    pub fn nats_options(&self) -> ConnectOptions {
        match &self.ca_file {
            Some(file) => ConnectOptions::new().add_root_certificates(file.clone()),
            None => ConnectOptions::new(),
        }
    }
}
