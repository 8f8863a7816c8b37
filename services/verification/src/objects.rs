//! The private bucket that holds audio samples.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_smithy_http_client::Builder as HttpClientBuilder;
use secrecy::ExposeSecret;
use talktime_kit::Error;
use tokio_util::sync::CancellationToken;

use crate::config::S3Config;

const CHECK_EVERY: Duration = Duration::from_secs(30);
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);

/// A bucket; cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    client: Client,
    name: String,
    presigned: Duration,
}

impl Bucket {
    /// The configured bucket. Connects when first used.
    pub fn new(config: &S3Config) -> Self {
        let secret = config.secret_key.expose_secret();
        let credentials = Credentials::new(&config.access_key, secret, None, None, "configuration");
        let s3 = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(HttpClientBuilder::new().build_http())
            .endpoint_url(&config.endpoint)
            .region(Region::new(config.region.clone()))
            .credentials_provider(credentials)
            .force_path_style(true)
            .build();
        Self {
            client: Client::from_conf(s3),
            name: config.bucket.clone(),
            presigned: Duration::from_secs(config.presigned_secs.into()),
        }
    }

    /// An address by which anyone can fetch the object `key`, for a while. Made here, without asking
    /// the store.
    pub async fn presigned_get(&self, key: &str) -> Result<String, Error> {
        let expiry = PresigningConfig::expires_in(self.presigned).map_err(Error::internal)?;
        let request = self.client.get_object().bucket(&self.name).key(key);
        let presigned = request.presigned(expiry).await.map_err(Error::internal)?;
        Ok(presigned.uri().to_owned())
    }

    /// Shows in the metrics whether the store answers, until told to stop. The service itself stays
    /// ready without it: most of what it does needs no audio.
    pub async fn watch(self, stopping: CancellationToken) {
        let gauge = metrics::gauge!("verification_bucket_reachable");
        loop {
            gauge.set(if self.is_reachable().await { 1.0 } else { 0.0 });
            tokio::select! {
                () = tokio::time::sleep(CHECK_EVERY) => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    async fn is_reachable(&self) -> bool {
        let asked = self.client.head_bucket().bucket(&self.name).send();
        let reason = match tokio::time::timeout(CHECK_TIMEOUT, asked).await {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => DisplayErrorContext(error).to_string(),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        tracing::warn!(bucket = self.name, reason, "the bucket is out of reach");
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_is_signed_for_one_object_and_a_while() {
        let bucket = Bucket::new(&S3Config {
            endpoint: "http://127.0.0.1:1".to_owned(),
            bucket: "samples".to_owned(),
            region: "us-east-1".to_owned(),
            access_key: "id".to_owned(),
            secret_key: "secret".into(),
            presigned_secs: 900,
        });
        let address = bucket.presigned_get("verification-audio/7/a b.mp3").await;
        let address = address.expect("needs no network");
        assert!(
            address.starts_with("http://127.0.0.1:1/samples/verification-audio/7/a%20b.mp3?"),
            "{address}"
        );
        assert!(address.contains("X-Amz-Expires=900"), "{address}");
        assert!(address.contains("X-Amz-Signature="), "{address}");
    }
}
