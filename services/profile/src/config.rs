//! Configuration of the profile service.

use secrecy::SecretString;
use serde::Deserialize;

#[derive(Clone, Debug, Deserialize)]
pub struct ProfileConfig {
    pub peers: PeerAddressConfig,
    /// Whether the feed shows only verified listeners, and only they can be called.
    #[serde(default)]
    pub require_verified_listeners: bool,
    /// The version of the terms that registrations must accept, and that the app configuration of the gateway
    /// names. Without one, any version is accepted, and none is as well.
    #[serde(default)]
    pub required_terms_version: Option<String>,
    /// Whether apps can no longer set an image by its address. The host of such an address learns the address of
    /// everybody who looks at the profile; photos that users upload are served by the platform.
    #[serde(default)]
    pub refuse_external_images: bool,
    /// User names that nobody may have beside those that are always reserved, separated by commas: the name of the
    /// product, of its company, of its brands.
    #[serde(default)]
    pub reserved_names: String,
    /// Whether names and biographies must not contain phone numbers, mail addresses and payment addresses.
    #[serde(default)]
    pub refuse_contact_details: bool,
    /// The key under which phones are hashed for the wallet, so that a debt finds a later account of the same phone: 32
    /// bytes in hexadecimal. Without it, debts end with the account. Another key makes every earlier hash useless.
    #[serde(default)]
    pub phone_hash_key: Option<SecretString>,
    #[serde(default)]
    pub feed: FeedConfig,
}

/// Addresses of the peers, `http://host:port` each.
#[derive(Clone, Debug, Deserialize)]
pub struct PeerAddressConfig {
    /// Auth signs the tokens of users, and ends the account of a user who is deleted.
    pub auth: String,
    /// Calls refuses a deletion during a call, and counts the calls of listeners in the feed.
    pub calls: String,
    /// Presence has the statuses in the feed.
    pub presence: String,
    /// Verification decides which listeners are verified.
    pub verification: String,
}

/// How the feed's read model is kept equal to its sources.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct FeedConfig {
    /// Seconds between two comparisons with the sources.
    pub check_every_secs: u32,
    /// A difference that is gone after these milliseconds was caused by an event on its way.
    pub check_grace_ms: u64,
    /// The age up to which counts in answers are reused, in milliseconds.
    pub counts_last_ms: u64,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self {
            check_every_secs: 900,
            check_grace_ms: 5_000,
            counts_last_ms: 1_000,
        }
    }
}
