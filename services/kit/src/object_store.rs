//! Object stores with the API of S3: their settings and their clients.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_smithy_http_client::Builder as HttpClientBuilder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::config::DeploymentEnvironment;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// One attempt of an operation, which moves at most 10 MB.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
const ATTEMPTS_MAX: u32 = 2;

/// A private bucket of an object store with the API of S3.
#[derive(Clone, Debug, Deserialize)]
pub struct S3Config {
    /// `https://host:port` of the API; the name of the bucket is part of the path.
    pub endpoint: String,
    /// The authorities that issue the certificate of the API, as PEM; those of the system by default.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The name of the bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    pub region: String,
    /// The id of the key that signs requests.
    pub access_key: String,
    /// The key that signs requests.
    pub secret_key: SecretString,
    /// Seconds for which a presigned download address is valid.
    #[serde(default = "default_presigned_secs")]
    pub presigned_secs: u32,
}

impl S3Config {
    /// Refuses an address over which files could be read on their way.
    ///
    /// # Errors
    /// The endpoint is not one of TLS outside of development; `variable` is what sets it.
    pub fn check(&self, environment: DeploymentEnvironment, variable: &str) -> anyhow::Result<()> {
        ensure!(
            self.endpoint.starts_with("https://") || !environment.requires_encryption(),
            "{variable} needs https:// outside of development"
        );
        Ok(())
    }
}

const fn default_presigned_secs() -> u32 {
    15 * 60
}

/// Returns a client of the configured store. The first request opens the connection.
///
/// # Errors
/// The file with the authorities cannot be read.
pub fn build_client(config: &S3Config) -> anyhow::Result<Client> {
    let secret = config.secret_key.expose_secret();
    let credentials = Credentials::new(&config.access_key, secret, None, None, "configuration");
    let http_client = HttpClientBuilder::new()
        .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
        .tls_context(build_tls_context(config)?)
        .build_https();
    let s3 = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http_client)
        .endpoint_url(&config.endpoint)
        .region(Region::new(config.region.clone()))
        .credentials_provider(credentials)
        .force_path_style(true)
        .timeout_config(timeouts())
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
        // The checksum of a streamed body is unknown when its headers are sent.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build();
    Ok(Client::from_conf(s3))
}

/// Trusts the configured authorities alone, or those of the system if none are configured.
fn build_tls_context(config: &S3Config) -> anyhow::Result<TlsContext> {
    let trusted = match &config.ca_file {
        None => TrustStore::default(),
        Some(file) => {
            let authorities = fs::read(file)
                .with_context(|| format!("s3.ca_file: cannot read {}", file.display()))?;
            TrustStore::empty().with_pem_certificate(authorities)
        }
    };
    Ok(TlsContext::builder().with_trust_store(trusted).build()?)
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_development_reaches_a_bucket_without_encryption() {
        let s3 = |endpoint: &str| S3Config {
            endpoint: endpoint.to_owned(),
            ca_file: None,
            bucket: "samples".to_owned(),
            region: "us-east-1".to_owned(),
            access_key: "id".to_owned(),
            secret_key: "secret".into(),
            presigned_secs: 900,
        };
        let plain = s3("http://s3:8333");
        assert!(
            plain
                .check(DeploymentEnvironment::Development, "S3__ENDPOINT")
                .is_ok()
        );
        let refused = plain.check(DeploymentEnvironment::Production, "S3__ENDPOINT");
        assert_eq!(
            refused.expect_err("in clear").to_string(),
            "S3__ENDPOINT needs https:// outside of development"
        );
        let encrypted = s3("https://s3:8333");
        assert!(
            encrypted
                .check(DeploymentEnvironment::Production, "S3__ENDPOINT")
                .is_ok()
        );
    }
}
