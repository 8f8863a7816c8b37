//! Credentials with which apps open allocations at a relay (the TURN REST API of `draft-uberti-behave-turn-rest-00`).

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::{ExposeSecret, SecretString};

use crate::domain::relay::{RelayUsername, SeatName};
use crate::domain::relay_choice::RelayAddress;

/// A relay and the credential of a seat for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct IceServer {
    pub(crate) urls: Vec<String>,
    pub(crate) username: String,
    pub(crate) credential: String,
    pub(crate) expires_at: DateTime<Utc>,
}

/// Signs credentials; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct CredentialSigner {
    key: Arc<hmac::Key>,
    life: TimeDelta,
}

impl CredentialSigner {
    /// `secret` is the one that the relays share. SHA-1 is what the protocol prescribes; HMAC is not weakened by
    /// its collisions.
    pub(crate) fn new(secret: &SecretString, credential_secs: i64) -> Self {
        let secret = secret.expose_secret().as_bytes();
        Self {
            key: Arc::new(hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret)),
            life: TimeDelta::seconds(credential_secs),
        }
    }

    /// Returns these relays with a credential of the seat. Its name has no id of a user.
    pub(crate) fn sign(
        &self,
        seat: SeatName,
        relays: &[RelayAddress],
        now: DateTime<Utc>,
    ) -> Vec<IceServer> {
        let expires_at = now + self.life;
        let username = RelayUsername {
            expires_at_secs: expires_at.timestamp(),
            seat,
        }
        .to_string();
        let credential = STANDARD.encode(hmac::sign(&self.key, username.as_bytes()));
        let server = |relay: &RelayAddress| IceServer {
            urls: relay.urls.clone(),
            username: username.clone(),
            credential: credential.clone(),
            expires_at,
        };
        relays.iter().map(server).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::relay::SeatRole;

    /// Made apart, with `openssl dgst -sha1 -hmac north -binary | base64`.
    #[test]
    fn a_credential_is_the_hmac_of_its_name() {
        let seat = SeatName {
            call_id: 42,
            role: SeatRole::Caller,
            epoch: 3,
        };
        let now = DateTime::from_timestamp(1_900_000_000, 0).expect("valid");
        let signer = CredentialSigner::new(&"north".into(), 120);
        let servers = signer.sign(seat, &[RelayAddress::of_host("relay.example.com")], now);
        let [server] = &servers[..] else {
            panic!("one relay");
        };
        assert_eq!(server.username, "1900000120:42.caller.3");
        assert_eq!(server.credential, "zH6njArj150plItax7hUG2idULo=");
        assert_eq!(server.expires_at.timestamp(), 1_900_000_120);
        assert_eq!(server.urls[0], "turn:relay.example.com:3478?transport=udp");
    }
}
