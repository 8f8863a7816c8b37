//! The public keys of access tokens, refreshed from auth in the background.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use talktime_proto::auth::v1::GetKeySetRequest;
use talktime_proto::auth::v1::auth_service_client::AuthServiceClient;
use tokio::sync::{Mutex, watch};

use crate::error::{Error, ErrorKind};
use crate::grpc::client::{PeerChannel, retry_idempotent};
use crate::lifecycle::ProcessLifecycle;
use crate::periodic::{self, FirstTurnStart, NextTurnStart, PeriodicWork};

type AuthClient = AuthServiceClient<PeerChannel>;

const REFRESH_WORK: PeriodicWork = PeriodicWork {
    name: Cow::Borrowed("tokens.keys"),
    // At most ten seconds, since intervals vary by a tenth. A new key is published for longer than that before it
    // signs tokens, and a retired key stays valid here for no longer than that.
    interval: Duration::from_secs(9),
    retry_after: Duration::from_millis(500),
    deadline: Duration::from_secs(5),
    first_turn: FirstTurnStart::AtOnce,
};
/// A token may name any key, so unknown keys cause at most one request to auth in this time.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(5);

/// The current key set; cheap to clone.
#[derive(Clone)]
pub struct SigningKeys(Arc<SigningKeysState>);

struct SigningKeysState {
    /// Absent in auth itself, which replaces the set whenever it reads its keys.
    auth: Option<AuthClient>,
    current: watch::Sender<Option<Arc<PublicKeySet>>>,
    last_unknown_lookup: Mutex<Option<UnknownKeyLookup>>,
}

/// The last request to auth for a key that is unknown here.
struct UnknownKeyLookup {
    started_at: Instant,
    /// Without an answer it is open whether auth knows the key. The request that asked may have ended before.
    is_answered: bool,
}

/// A key set as the auth service published it.
struct PublicKeySet {
    jwks_json: String,
    by_id: HashMap<String, DecodingKey>,
}

impl SigningKeys {
    /// Creates an empty key set, which [`SigningKeys::start_refreshing`] fills.
    pub fn new(auth: AuthClient) -> Self {
        Self::create(Some(auth))
    }

    /// Creates an empty key set, which [`SigningKeys::replace`] fills.
    pub fn without_auth() -> Self {
        Self::create(None)
    }

    fn create(auth: Option<AuthClient>) -> Self {
        Self(Arc::new(SigningKeysState {
            auth,
            current: watch::Sender::new(None),
            last_unknown_lookup: Mutex::new(None),
        }))
    }

    /// Uses this key set from now on (RFC 7517).
    ///
    /// # Errors
    /// It is not valid; the previous one stays in use.
    pub fn replace(&self, jwks_json: &str) -> anyhow::Result<()> {
        let keys = PublicKeySet::parse(jwks_json.to_owned())?;
        self.0.current.send_replace(Some(Arc::new(keys)));
        Ok(())
    }

    /// Refreshes the key set regularly until the process stops, and more often while that fails.
    pub fn start_refreshing(&self, lifecycle: &ProcessLifecycle) {
        let keys = self.clone();
        periodic::start(lifecycle, REFRESH_WORK, move || {
            let keys = keys.clone();
            async move {
                let fetched = keys.fetch().await;
                fetched.context("failed to fetch the signing keys")?;
                Ok(NextTurnStart::AfterInterval)
            }
        });
    }

    /// Returns whether there is a key set.
    pub fn are_loaded(&self) -> bool {
        self.0.current.borrow().is_some()
    }

    /// Waits for the first key set.
    pub async fn wait_until_loaded(&self) {
        // The sender is in `self`, so the channel stays open during the wait.
        let _ = self.0.current.subscribe().wait_for(Option::is_some).await;
    }

    /// Returns the key set as JSON (RFC 7517). Fails as unavailable until the first one is loaded.
    pub fn jwks_json(&self) -> Result<String, Error> {
        Ok(self.current()?.jwks_json.clone())
    }

    /// Returns whether the key `id` is published.
    pub fn contains(&self, id: &str) -> Result<bool, Error> {
        Ok(self.current()?.by_id.contains_key(id))
    }

    /// Returns the key `id`, or `None` when auth does not know it either.
    pub async fn find(&self, id: &str) -> Result<Option<DecodingKey>, Error> {
        if let Some(key) = self.current()?.by_id.get(id) {
            return Ok(Some(key.clone()));
        }
        self.look_up_unknown(id).await?;
        Ok(self.current()?.by_id.get(id).cloned())
    }

    fn current(&self) -> Result<Arc<PublicKeySet>, Error> {
        self.0.current.borrow().clone().ok_or_else(unavailable)
    }

    /// Refreshes the key set once for all requests that have an unknown key at the same time. Fails as unavailable
    /// while auth does not answer: a key that has just begun to sign must not look like one that nobody knows.
    async fn look_up_unknown(&self, id: &str) -> Result<(), Error> {
        let mut last_lookup = self.0.last_unknown_lookup.lock().await;
        if self.contains(id)? {
            return Ok(());
        }
        let recent = last_lookup.as_ref();
        let recent = recent.filter(|lookup| lookup.started_at.elapsed() < UNKNOWN_KEY_PAUSE);
        if let Some(recent) = recent {
            return if recent.is_answered {
                Ok(())
            } else {
                Err(unavailable())
            };
        }
        let lookup = last_lookup.insert(UnknownKeyLookup {
            started_at: Instant::now(),
            is_answered: false,
        });
        let fetched = self.fetch().await;
        fetched.map_err(|error| unavailable().with_source(error))?;
        lookup.is_answered = true;
        Ok(())
    }

    async fn fetch(&self) -> anyhow::Result<()> {
        let Some(auth) = &self.0.auth else {
            return Ok(());
        };
        let answer = retry_idempotent(auth, AuthClient::get_key_set, GetKeySetRequest {}).await?;
        self.replace(&answer.jwks_json)
    }
}

impl PublicKeySet {
    fn parse(jwks_json: String) -> anyhow::Result<Self> {
        let set: JwkSet =
            serde_json::from_str(&jwks_json).context("the key set is not valid JSON")?;
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
        ErrorKind::Unavailable,
        "keys_unavailable",
        "Please try again in a moment.",
    )
}

#[cfg(test)]
mod tests {
    use talktime_proto::access::v1::Workload;

    use super::*;
    use crate::testing::TestAuthority;

    /// The key of RFC 8037, appendix A.2.
    const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"k1",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    #[test]
    fn keys_are_found_by_their_id() {
        let keys = PublicKeySet::parse(JWKS.to_owned()).expect("a key set");
        assert!(keys.by_id.contains_key("k1"));
        assert_eq!(keys.by_id.len(), 1);
    }

    #[tokio::test]
    async fn an_unknown_key_is_no_invalid_one_while_auth_does_not_answer() {
        let connector = TestAuthority::default().connector(Workload::Calls);
        let nowhere = connector.connect(Workload::Auth, "https://127.0.0.1:1");
        let keys = SigningKeys::new(AuthClient::new(nowhere.expect("a valid address")));
        keys.replace(JWKS).expect("a key set");
        assert!(keys.find("k1").await.expect("known").is_some());
        for _ in ["asks auth", "waits before it asks again"] {
            let Err(error) = keys.find("k2").await else {
                panic!("auth has not answered");
            };
            assert_eq!(error.code(), "keys_unavailable");
        }
    }

    #[test]
    fn an_invalid_key_set_is_refused_completely() {
        assert!(PublicKeySet::parse("{}".to_owned()).is_err());
        let without_id = JWKS.replace("\"kid\":\"k1\",", "");
        assert!(PublicKeySet::parse(without_id).is_err());
    }
}
