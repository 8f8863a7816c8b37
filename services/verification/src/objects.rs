//! The private bucket that holds audio samples.

use std::error::Error as StdError;
use std::fs::File;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
};
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::Object;
use aws_smithy_http_client::Builder as HttpClientBuilder;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret;
use talktime_kit::{Error, Kind};
use tokio_util::sync::CancellationToken;

use crate::config::S3Config;

const CHECK_EVERY: Duration = Duration::from_secs(30);
const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(20);
const ATTEMPTS_MAX: u32 = 2;
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Objects that one request lists.
const OBJECTS_LISTED_MAX: i32 = 500;

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
            .timeout_config(timeouts())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            // A body that streams has no checksum beforehand; the transport guards it.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
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

    /// An address to which anyone can put one object `key`, for a while: of this length and type, both
    /// signed.
    pub async fn presigned_put(
        &self,
        key: &str,
        length_bytes: i64,
        content_type: &str,
        expires_in: Duration,
    ) -> Result<String, Error> {
        let expiry = PresigningConfig::expires_in(expires_in).map_err(Error::internal)?;
        let request = self.client.put_object().bucket(&self.name).key(key);
        let request = request
            .content_length(length_bytes)
            .content_type(content_type);
        let presigned = request.presigned(expiry).await.map_err(Error::internal)?;
        Ok(presigned.uri().to_owned())
    }

    /// Keeps a file of `length_bytes` whole under `key`, or not at all. The file streams.
    pub async fn put(
        &self,
        key: &str,
        content_type: &str,
        file: File,
        length_bytes: u64,
    ) -> Result<(), Error> {
        let body = ByteStream::read_from()
            .file(tokio::fs::File::from_std(file))
            .length(Length::Exact(length_bytes))
            .buffer_size(READ_BUFFER_BYTES)
            .build()
            .await
            .map_err(Error::internal)?;
        let request = self.client.put_object().bucket(&self.name).key(key);
        let request = request.content_type(content_type).body(body);
        request.send().await.map_err(unavailable)?;
        Ok(())
    }

    /// An object, to be read bit by bit; `None` when there is none.
    pub async fn get(&self, key: &str) -> Result<Option<GetObjectOutput>, Error> {
        let request = self.client.get_object().bucket(&self.name).key(key);
        match request.send().await {
            Ok(object) => Ok(Some(object)),
            Err(SdkError::ServiceError(error)) if error.err().is_no_such_key() => Ok(None),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Whether there is an object.
    pub async fn has(&self, key: &str) -> Result<bool, Error> {
        let request = self.client.head_object().bucket(&self.name).key(key);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error)) if error.err().is_not_found() => Ok(false),
            Err(error) => Err(unavailable(error)),
        }
    }

    /// Removes an object; one that is not there is gone already.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let request = self.client.delete_object().bucket(&self.name).key(key);
        request.send().await.map_err(unavailable)?;
        Ok(())
    }

    /// Some of the objects whose keys begin with `prefix`, in their order, after the key `after`. Empty
    /// after the last.
    pub async fn list(&self, prefix: &str, after: &str) -> Result<Vec<Listed>, Error> {
        let request = self.client.list_objects_v2().bucket(&self.name);
        let request = request.prefix(prefix).max_keys(OBJECTS_LISTED_MAX);
        let request = if after.is_empty() {
            request
        } else {
            request.start_after(after)
        };
        let page = request.send().await.map_err(unavailable)?;
        Ok(page.contents().iter().filter_map(Listed::of).collect())
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

/// An object in a list.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// When it was put.
    pub modified_at: DateTime<Utc>,
}

impl Listed {
    fn of(object: &Object) -> Option<Self> {
        let modified_at = SystemTime::try_from(*object.last_modified()?).ok()?;
        Some(Self {
            key: object.key()?.to_owned(),
            modified_at: modified_at.into(),
        })
    }
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_timeout(OPERATION_TIMEOUT)
        .build()
}

/// The store is away or refuses us: in both cases nothing was done that anyone can rely on.
fn unavailable(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(
        Kind::Unavailable,
        "storage_unavailable",
        "The store of audio samples does not answer; please try again in a moment.",
    )
    .with_source(DisplayErrorContext(error).to_string())
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
