//! Limits clients that open sockets again and again with a token that is refused.
//!
//! A refused socket is accepted first, so that a browser can read the reason, and some clients connect again at once
//! and forever. After a number of refusals in a minute, the upgrade itself is refused, which costs little. The
//! refusals are counted for each address and token: other users behind the same address are not affected, and
//! neither is the same user with a new token.

use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use sha2::{Digest, Sha256};
use talktime_kit::{Error, ErrorKind};

use crate::extract::AddressKey;

const REFUSALS_MAX: u32 = 10;
const WINDOW: Duration = Duration::from_mins(1);
/// Clients whose refusals are counted, at about a hundred bytes each. The least recent ones are dropped first.
const CLIENTS_MAX: usize = 50_000;

const LIMITED: &str = "ws_upgrades_limited_total";

/// Identifies a client by its address and the token that it sent, without storing either of them.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) struct ClientKey([u8; 32]);

impl ClientKey {
    /// `token` is `None` for a client that sent none, or one in an invalid form.
    pub(super) fn new(address: AddressKey, token: Option<&str>) -> Self {
        let mut hash = Sha256::new();
        hash.update(address.to_string());
        hash.update([0]);
        hash.update(token.unwrap_or_default());
        Self(hash.finalize().into())
    }
}

/// The refusals of a client in a window that begins with the first of them.
#[derive(Clone, Copy)]
struct SocketRefusalCount {
    refusals: u32,
    window_ends_at: Instant,
}

/// Counts the refusals of clients.
pub(super) struct SocketRefusalLimit(Cache<ClientKey, SocketRefusalCount>);

impl SocketRefusalLimit {
    pub(super) fn new() -> Self {
        // Starts at zero, so that the first increase is visible.
        metrics::counter!(LIMITED).increment(0);
        Self(Cache::new(CLIENTS_MAX))
    }

    /// Fails if the client was refused too often in the current window.
    pub(super) fn check(&self, client: ClientKey, now: Instant) -> Result<(), Error> {
        match self.count_of(client, now) {
            Some(count) if count.refusals >= REFUSALS_MAX => {
                metrics::counter!(LIMITED).increment(1);
                Err(Error::new(
                    ErrorKind::RateLimited,
                    "too_many_refusals",
                    "Connections with this token were refused too often; please log in again.",
                )
                .with_retry_after(count.window_ends_at - now))
            }
            _ => Ok(()),
        }
    }

    /// Counts a refusal. One of several at the same moment may be lost, which delays the limit a little.
    pub(super) fn record(&self, client: ClientKey, now: Instant) {
        let count = self.count_of(client, now).unwrap_or(SocketRefusalCount {
            refusals: 0,
            window_ends_at: now + WINDOW,
        });
        let count = SocketRefusalCount {
            refusals: count.refusals.saturating_add(1),
            ..count
        };
        self.0.insert(client, count);
    }

    fn count_of(&self, client: ClientKey, now: Instant) -> Option<SocketRefusalCount> {
        let count = self.0.get(&client);
        count.filter(|count| count.window_ends_at > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> AddressKey {
        std::net::IpAddr::from([203, 0, 113, last]).into()
    }

    fn client() -> ClientKey {
        ClientKey::new(address(7), Some("token"))
    }

    fn refused_often(now: Instant) -> SocketRefusalLimit {
        let limit = SocketRefusalLimit::new();
        for _ in 0..REFUSALS_MAX {
            assert!(limit.check(client(), now).is_ok());
            limit.record(client(), now);
        }
        limit
    }

    #[test]
    fn a_client_is_limited_until_the_end_of_its_window() {
        let now = Instant::now();
        let limit = refused_often(now);
        let later = now + Duration::from_secs(20);
        let error = limit.check(client(), later).expect_err("limited");
        assert_eq!(error.kind(), ErrorKind::RateLimited);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(40)));
        assert!(limit.check(client(), now + WINDOW).is_ok());
        limit.record(client(), now + WINDOW);
        assert!(limit.check(client(), now + WINDOW).is_ok());
    }

    #[test]
    fn other_tokens_and_addresses_are_not_limited() {
        let now = Instant::now();
        let limit = refused_often(now);
        for other in [
            ClientKey::new(address(7), Some("another token")),
            ClientKey::new(address(7), None),
            ClientKey::new(address(8), Some("token")),
        ] {
            assert!(limit.check(other, now).is_ok());
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let (limit, now) = (SocketRefusalLimit::new(), Instant::now());
        for number in 0..2 * CLIENTS_MAX {
            let token = number.to_string();
            limit.record(ClientKey::new(address(7), Some(&token)), now);
        }
        // The cache rounds its capacity up.
        assert!(limit.0.len() < CLIENTS_MAX + CLIENTS_MAX / 10);
    }
}
