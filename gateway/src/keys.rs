//! The public keys that tokens are signed with, kept at hand.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, Kind};
use talktime_proto::auth::v1::GetKeySetRequest;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::clients::AuthClient;

/// A new key is published longer than this before it signs; tokens of a retired one are good no longer.
const REFRESH_EVERY: Duration = Duration::from_secs(10);
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// Tokens may name any key they like; they make us ask no more often than this.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(5);

/// The current key set; cheap to clone.
#[derive(Clone)]
pub struct Keys(Arc<Inner>);

struct Inner {
    auth: AuthClient,
    current: watch::Sender<Option<Arc<KeySet>>>,
    asked_for_unknown: Mutex<Option<Instant>>,
}

/// A key set as the auth service published it.
struct KeySet {
    jwks_json: String,
    by_id: HashMap<String, DecodingKey>,
}

impl Keys {
    /// No keys yet: [`Keys::follow`] fetches them.
    pub fn new(auth: AuthClient) -> Self {
        Self(Arc::new(Inner {
            auth,
            current: watch::Sender::new(None),
            asked_for_unknown: Mutex::new(None),
        }))
    }

    /// This key set, and nobody to ask for another.
    #[cfg(test)]
    pub(crate) fn fixed(jwks_json: String) -> Self {
        let nowhere = talktime_kit::grpc::client::connect("http://127.0.0.1:1");
        let keys = Self::new(AuthClient::new(nowhere.expect("a valid address")));
        let set = KeySet::parse(jwks_json).expect("a key set");
        keys.0.current.send_replace(Some(Arc::new(set)));
        keys
    }

    /// Fetches the key set now and again and again until told to stop; sooner while that fails.
    pub async fn follow(self, stopping: CancellationToken) {
        while !stopping.is_cancelled() {
            let pause = match self.fetch().await {
                Ok(()) => REFRESH_EVERY,
                Err(error) => {
                    tracing::warn!(error = format!("{error:#}"), "keys were not fetched");
                    RETRY_DELAY
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = stopping.cancelled() => {}
            }
        }
    }

    /// Waits for the first key set.
    pub async fn wait(&self) {
        // The sender is in `self`: the wait ends with a key set or not at all.
        let _ = self.0.current.subscribe().wait_for(Option::is_some).await;
    }

    /// The key set as JSON (RFC 7517). Unavailable before the first one is there.
    pub fn jwks_json(&self) -> Result<String, Error> {
        Ok(self.current()?.jwks_json.clone())
    }

    /// Whether the key `id` is published, as far as we know.
    pub fn has(&self, id: &str) -> Result<bool, Error> {
        Ok(self.current()?.by_id.contains_key(id))
    }

    /// The key `id`; `None` when the auth service does not know it either.
    pub async fn find(&self, id: &str) -> Result<Option<DecodingKey>, Error> {
        if let Some(key) = self.current()?.by_id.get(id) {
            return Ok(Some(key.clone()));
        }
        self.ask_for_unknown(id).await?;
        Ok(self.current()?.by_id.get(id).cloned())
    }

    fn current(&self) -> Result<Arc<KeySet>, Error> {
        self.0.current.borrow().clone().ok_or_else(unavailable)
    }

    /// Fetches once for all who meet an unknown key at the same time.
    async fn ask_for_unknown(&self, id: &str) -> Result<(), Error> {
        let mut asked = self.0.asked_for_unknown.lock().await;
        let is_known_now = self.current()?.by_id.contains_key(id);
        let is_too_soon = asked.is_some_and(|at| at.elapsed() < UNKNOWN_KEY_PAUSE);
        if is_known_now || is_too_soon {
            return Ok(());
        }
        *asked = Some(Instant::now());
        let fetched = self.fetch().await;
        fetched.map_err(|error| unavailable().with_source(error))
    }

    async fn fetch(&self) -> anyhow::Result<()> {
        let answer = retry_idempotent(|| {
            let mut auth = self.0.auth.clone();
            async move { auth.get_key_set(GetKeySetRequest {}).await }
        })
        .await?;
        let keys = KeySet::parse(answer.jwks_json)?;
        self.0.current.send_replace(Some(Arc::new(keys)));
        Ok(())
    }
}

impl KeySet {
    fn parse(jwks_json: String) -> anyhow::Result<Self> {
        let set: JwkSet = serde_json::from_str(&jwks_json).context("the key set is not one")?;
        let mut by_id = HashMap::new();
        for jwk in &set.keys {
            let id = jwk.common.key_id.clone().context("a key has no id")?;
            by_id.insert(id, DecodingKey::from_jwk(jwk)?);
        }
        Ok(Self { jwks_json, by_id })
    }
}

fn unavailable() -> Error {
    Error::new(
        Kind::Unavailable,
        "keys_unavailable",
        "Please try again in a moment.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8037, appendix A.2.
    const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"k1",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    #[test]
    fn keys_are_found_by_their_id() {
        let keys = KeySet::parse(JWKS.to_owned()).expect("a key set");
        assert!(keys.by_id.contains_key("k1"));
        assert_eq!(keys.by_id.len(), 1);
    }

    #[test]
    fn a_broken_key_set_is_refused_whole() {
        assert!(KeySet::parse("{}".to_owned()).is_err());
        let without_id = JWKS.replace("\"kid\":\"k1\",", "");
        assert!(KeySet::parse(without_id).is_err());
    }
}
