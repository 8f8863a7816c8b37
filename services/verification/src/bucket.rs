//! The private bucket that holds audio samples and photos.

use std::error::Error as StdError;
use std::fs::File;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{DisplayErrorContext, SdkError};
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::Object;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use talktime_kit::deadlines::{PeerKind, await_answer};
use talktime_kit::object_store::{S3Config, build_client};
use talktime_kit::{Error, ErrorKind};

const CHECK_TIMEOUT: Duration = Duration::from_secs(5);
/// The next bytes of an object.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(5);
const READ_BUFFER_BYTES: usize = 64 * 1024;
/// Objects in one page of a listing.
const OBJECTS_LISTED_MAX: i32 = 500;

/// A bucket of an S3 API; cheap to clone.
#[derive(Clone)]
pub struct ObjectBucket {
    client: Client,
    name: String,
    get_validity: Duration,
}

impl ObjectBucket {
    /// Returns the configured bucket. The first request opens the connection.
    ///
    /// # Errors
    /// The file with the authorities cannot be read.
    pub fn new(config: &S3Config) -> anyhow::Result<Self> {
        Ok(Self {
            client: build_client(config)?,
            name: config.bucket.clone(),
            get_validity: Duration::from_secs(config.presigned_secs.into()),
        })
    }

    /// Signs an address from which anyone can fetch the object `key` until it expires. This makes no request.
    pub async fn presign_get(&self, key: &str) -> Result<String, Error> {
        let expiry = PresigningConfig::expires_in(self.get_validity).map_err(Error::internal)?;
        let request = self.client.get_object().bucket(&self.name).key(key);
        let presigned = request.presigned(expiry).await.map_err(Error::internal)?;
        Ok(presigned.uri().to_owned())
    }

    /// Signs an address to which anyone can put the object `key` until it expires. The signature covers the
    /// length and the type.
    pub async fn presign_put(
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

    /// Streams a file into the object `key`, which exists afterwards as a whole or not at all.
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
        request.send().await.map_err(as_unavailable)?;
        Ok(())
    }

    /// Stores bytes as the object `key`.
    pub async fn put_bytes(
        &self,
        key: &str,
        content_type: &str,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let request = self.client.put_object().bucket(&self.name).key(key);
        let request = request.content_type(content_type).body(bytes.into());
        request.send().await.map_err(as_unavailable)?;
        Ok(())
    }

    /// Opens the object `key` for reading; `None` if it does not exist.
    pub async fn get(&self, key: &str) -> Result<Option<BucketObjectReader>, Error> {
        let request = self.client.get_object().bucket(&self.name).key(key);
        match request.send().await {
            Ok(object) => Ok(Some(BucketObjectReader(object.body))),
            Err(SdkError::ServiceError(error)) if error.err().is_no_such_key() => Ok(None),
            Err(error) => Err(as_unavailable(error)),
        }
    }

    /// Returns whether the object `key` exists.
    pub async fn has(&self, key: &str) -> Result<bool, Error> {
        let request = self.client.head_object().bucket(&self.name).key(key);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(SdkError::ServiceError(error)) if error.err().is_not_found() => Ok(false),
            Err(error) => Err(as_unavailable(error)),
        }
    }

    /// Deletes the object `key`; succeeds if it does not exist.
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let request = self.client.delete_object().bucket(&self.name).key(key);
        request.send().await.map_err(as_unavailable)?;
        Ok(())
    }

    /// Lists a page of the objects whose keys begin with `prefix`, in the order of their keys, after the key
    /// `after`. The page after the last one is empty.
    pub async fn list(&self, prefix: &str, after: &str) -> Result<Vec<ListedBucketObject>, Error> {
        let request = self.client.list_objects_v2().bucket(&self.name);
        let request = request.prefix(prefix).max_keys(OBJECTS_LISTED_MAX);
        let request = if after.is_empty() {
            request
        } else {
            request.start_after(after)
        };
        let page = request.send().await.map_err(as_unavailable)?;
        Ok(page
            .contents()
            .iter()
            .filter_map(ListedBucketObject::from_listing)
            .collect())
    }

    /// Returns whether the bucket answers, and logs the reason if it does not.
    pub async fn is_reachable(&self) -> bool {
        let request = self.client.head_bucket().bucket(&self.name).send();
        let reason = match await_answer(PeerKind::ObjectStore, CHECK_TIMEOUT, request).await {
            Ok(Ok(_)) => return true,
            Ok(Err(error)) => DisplayErrorContext(error).to_string(),
            Err(missed) => missed.to_string(),
        };
        tracing::warn!(
            bucket = self.name,
            reason,
            "failed to reach the bucket; uploads are refused until it answers"
        );
        false
    }
}

/// The content of an object, read chunk by chunk.
pub struct BucketObjectReader(ByteStream);

impl BucketObjectReader {
    /// Reads the next chunk; `None` after the last one.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = await_answer(PeerKind::ObjectStore, CHUNK_TIMEOUT, self.0.next()).await;
        chunk
            .map_err(as_unavailable)?
            .transpose()
            .map_err(as_unavailable)
    }
}

/// An object in a listing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ListedBucketObject {
    pub key: String,
    pub modified_at: DateTime<Utc>,
}

impl ListedBucketObject {
    fn from_listing(object: &Object) -> Option<Self> {
        let modified_at = SystemTime::try_from(*object.last_modified()?).ok()?;
        Some(Self {
            key: object.key()?.to_owned(),
            modified_at: modified_at.into(),
        })
    }
}

/// Converts an error of the store. Whether the store is unreachable or refuses the request, the caller can only
/// try again later.
fn as_unavailable(error: impl StdError + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Unavailable,
        "storage_unavailable",
        "The file store does not answer; please try again in a moment.",
    )
    .with_source(DisplayErrorContext(error).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_presigned_address_names_one_object_and_expires() {
        let bucket = ObjectBucket::new(&S3Config {
            endpoint: "http://127.0.0.1:1".to_owned(),
            ca_file: None,
            bucket: "samples".to_owned(),
            region: "us-east-1".to_owned(),
            access_key: "id".to_owned(),
            secret_key: "secret".into(),
            presigned_secs: 900,
        });
        let bucket = bucket.expect("no file to read");
        let address = bucket.presign_get("verification-audio/7/a b.mp3").await;
        let address = address.expect("needs no network");
        assert!(
            address.starts_with("http://127.0.0.1:1/samples/verification-audio/7/a%20b.mp3?"),
            "{address}"
        );
        assert!(address.contains("X-Amz-Expires=900"), "{address}");
        assert!(address.contains("X-Amz-Signature="), "{address}");
    }
}
