//! Which addresses a channel is balanced over: those that a peer's names resolve to, and that serve.
//!
//! A channel goes on using an address whose connections are refused: requests to it fail at once, and
//! idle as it therefore is, it gets more than its share of them. So every address is asked for its
//! health, and only those that serve are used. A peer that drains says so while it still answers, and
//! is left before it closes. Where none serves those are used that did last, or all: a request must fail
//! rather than wait, and the first to come back is found by the request itself.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures::future::join_all;
use tokio::sync::mpsc::Sender;
use tonic::Code;
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The same while none serves.
const CHECK_AGAIN: Duration = Duration::from_millis(200);
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// Checks in a row without an answer after which an address is taken to be gone: a busy peer may be
/// late once.
const SILENCES_MAX: u32 = 3;

/// A name, and the addresses that it resolved to last.
struct Target {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
}

/// An address, and how it answered.
struct Peer {
    health: HealthClient<Channel>,
    serves: bool,
    silences: u32,
}

/// What an address says of itself.
enum Verdict {
    Serves,
    ServesNot,
    Silent,
}

/// The addresses of a peer.
pub(super) struct Addresses {
    targets: Vec<Target>,
    peers: HashMap<SocketAddr, Peer>,
    /// Those that the channel has been told.
    used: HashSet<SocketAddr>,
}

/// Whether a peer serves at any of its addresses, as far as was found out a second ago; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PeerHealth(Arc<AtomicBool>);

impl PeerHealth {
    /// Whether it does. Nobody is known to before the first answer.
    pub fn serves(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, serves: bool) {
        self.0.store(serves, Ordering::Relaxed);
    }
}

impl Addresses {
    /// Those behind `http://host:port`, or behind several of these with commas between.
    pub(super) fn parse(urls: &str) -> anyhow::Result<Self> {
        let targets = urls.split(',').map(|url| target(url.trim()));
        Ok(Self {
            targets: targets.collect::<Result<_, _>>()?,
            peers: HashMap::new(),
            used: HashSet::new(),
        })
    }

    /// Tells a channel which to use, and `health` whether there are any that serve, until the channel
    /// is dropped.
    pub(super) async fn follow(
        mut self,
        changes: Sender<Change<SocketAddr, Endpoint>>,
        health: PeerHealth,
    ) {
        let mut resolved_at: Option<Instant> = None;
        while !changes.is_closed() {
            if resolved_at.is_none_or(|at| at.elapsed() >= RESOLVE_EVERY) {
                self.resolve().await;
                resolved_at = Some(Instant::now());
            }
            self.check().await;
            self.tell(&changes).await;
            let serves = self.peers.values().any(|peer| peer.serves);
            health.set(serves);
            let pause = if serves { CHECK_EVERY } else { CHECK_AGAIN };
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks the names up. While one does not resolve, its last known addresses stay.
    async fn resolve(&mut self) {
        for target in &mut self.targets {
            match tokio::net::lookup_host((target.host.as_str(), target.port)).await {
                Ok(found) => target.addresses = found.collect(),
                Err(error) => tracing::warn!(host = target.host, %error, "peer does not resolve"),
            }
        }
        let known: HashSet<SocketAddr> = self
            .targets
            .iter()
            .flat_map(|target| target.addresses.iter().copied())
            .collect();
        self.peers.retain(|address, _| known.contains(address));
        for address in known {
            self.peers
                .entry(address)
                .or_insert_with(|| Peer::new(address));
        }
    }

    async fn check(&mut self) {
        join_all(self.peers.values_mut().map(Peer::check)).await;
    }

    async fn tell(&mut self, changes: &Sender<Change<SocketAddr, Endpoint>>) {
        let serving = self.peers.iter().filter(|(_, peer)| peer.serves);
        let mut wanted: HashSet<SocketAddr> = serving.map(|(address, _)| *address).collect();
        if wanted.is_empty() {
            wanted.extend(
                self.used
                    .iter()
                    .filter(|used| self.peers.contains_key(used)),
            );
        }
        if wanted.is_empty() {
            wanted = self.peers.keys().copied().collect();
        }
        // A failed send means that the channel is gone, and with it this task.
        for address in wanted.difference(&self.used) {
            let _ = changes
                .send(Change::Insert(*address, endpoint(*address)))
                .await;
        }
        for address in self.used.difference(&wanted) {
            let _ = changes.send(Change::Remove(*address)).await;
        }
        self.used = wanted;
    }
}

fn target(url: &str) -> anyhow::Result<Target> {
    let uri: Uri = url.parse().with_context(|| format!("peer address {url}"))?;
    Ok(Target {
        host: uri
            .host()
            .context("a peer address needs a host")?
            .to_owned(),
        port: uri.port_u16().context("a peer address needs a port")?,
        addresses: Vec::new(),
    })
}

impl Peer {
    fn new(address: SocketAddr) -> Self {
        Self {
            health: HealthClient::new(endpoint(address).connect_lazy()),
            serves: false,
            silences: 0,
        }
    }

    async fn check(&mut self) {
        match self.ask().await {
            Verdict::Serves => (self.serves, self.silences) = (true, 0),
            Verdict::ServesNot => (self.serves, self.silences) = (false, 0),
            Verdict::Silent => {
                self.silences += 1;
                self.serves &= self.silences < SILENCES_MAX;
            }
        }
    }

    async fn ask(&mut self) -> Verdict {
        let answer = self.health.check(HealthCheckRequest::default());
        match tokio::time::timeout(CHECK_TIMEOUT, answer).await {
            Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => {
                Verdict::Serves
            }
            // A peer that knows nothing of health is there all the same.
            Ok(Err(status)) if status.code() == Code::Unimplemented => Verdict::Serves,
            Ok(_) => Verdict::ServesNot,
            Err(_elapsed) => Verdict::Silent,
        }
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("a socket address is a valid authority")
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_addresses_may_be_given() {
        let given = Addresses::parse("http://a:1, http://b:2").expect("valid");
        let targets: Vec<(&str, u16)> = given
            .targets
            .iter()
            .map(|target| (target.host.as_str(), target.port))
            .collect();
        assert_eq!(targets, [("a", 1), ("b", 2)]);
        assert!(Addresses::parse("http://a").is_err(), "no port");
        assert!(Addresses::parse("").is_err(), "nothing");
    }
}
