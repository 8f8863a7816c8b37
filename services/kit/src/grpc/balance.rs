//! Selects the addresses over which a channel is balanced: those that the names of a peer resolve to and that
//! serve.
//!
//! A channel on its own keeps using an address that refuses connections. Requests to it fail at once, so that
//! it looks idle and gets more than its share. Therefore the health of every address is checked, and only
//! serving addresses are used. A draining peer reports it while it still answers, and is removed before it
//! closes. If no address serves, the addresses that served last are used, or else all: a request must fail
//! rather than wait, and it finds the first peer that recovers.

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
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

use crate::deadlines::{NAME_LOOKUP, RPC_CONNECT, RPC_PING, RPC_PING_ANSWER};

const RESOLVE_EVERY: Duration = Duration::from_secs(5);
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Interval of the checks while no address serves.
const CHECK_WHILE_DOWN_EVERY: Duration = Duration::from_millis(200);
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// Number of consecutive unanswered checks after which an address is considered gone. A busy peer may be late
/// once.
const UNANSWERED_CHECKS_MAX: u32 = 3;

/// A name with the addresses that it last resolved to.
struct ResolvedPeerName {
    host: String,
    port: u16,
    addresses: Vec<SocketAddr>,
}

/// The health of one address.
struct PeerAddressHealth {
    health: HealthClient<Channel>,
    serves: bool,
    unanswered_checks: u32,
}

/// The answer of an address to a health check.
enum HealthCheckAnswer {
    Serving,
    NotServing,
    Silent,
}

/// The addresses of a peer.
pub(super) struct PeerAddresses {
    targets: Vec<ResolvedPeerName>,
    peers: HashMap<SocketAddr, PeerAddressHealth>,
    /// The addresses that the channel uses.
    used: HashSet<SocketAddr>,
}

/// Whether a peer serves at any of its addresses, as of the last check; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct PeerHealth(Arc<AtomicBool>);

impl PeerHealth {
    /// Returns whether the peer serves. It is false before the first check.
    pub fn serves(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, serves: bool) {
        self.0.store(serves, Ordering::Relaxed);
    }
}

impl PeerAddresses {
    /// Parses `http://host:port`, or several of these, separated by commas.
    pub(super) fn parse(urls: &str) -> anyhow::Result<Self> {
        let targets = urls.split(',').map(|url| parse_peer_name(url.trim()));
        Ok(Self {
            targets: targets.collect::<Result<_, _>>()?,
            peers: HashMap::new(),
            used: HashSet::new(),
        })
    }

    /// Updates the addresses of a channel, and `health`, until the channel is dropped.
    pub(super) async fn run(
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
            self.update_channel(&changes).await;
            let serves = self.peers.values().any(|peer| peer.serves);
            health.set(serves);
            let pause = if serves {
                CHECK_EVERY
            } else {
                CHECK_WHILE_DOWN_EVERY
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// Resolves the names. While a name does not resolve, its last known addresses stay.
    async fn resolve(&mut self) {
        for target in &mut self.targets {
            let looked_up = tokio::net::lookup_host((target.host.as_str(), target.port));
            let looked_up = tokio::time::timeout(NAME_LOOKUP, looked_up).await;
            match looked_up.unwrap_or_else(|_elapsed| Err(ErrorKind::TimedOut.into())) {
                Ok(found) => target.addresses = found.collect(),
                Err(error) => {
                    tracing::warn!(
                        host = target.host,
                        %error,
                        "failed to resolve peer; its last known addresses stay in use"
                    );
                }
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
                .or_insert_with(|| PeerAddressHealth::new(address));
        }
    }

    async fn check(&mut self) {
        join_all(self.peers.values_mut().map(PeerAddressHealth::check)).await;
    }

    async fn update_channel(&mut self, changes: &Sender<Change<SocketAddr, Endpoint>>) {
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
        // A send fails only if the channel was dropped, and then this task ends, too.
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

fn parse_peer_name(url: &str) -> anyhow::Result<ResolvedPeerName> {
    let uri: Uri = url.parse().with_context(|| format!("peer address {url}"))?;
    Ok(ResolvedPeerName {
        host: uri
            .host()
            .context("a peer address needs a host")?
            .to_owned(),
        port: uri.port_u16().context("a peer address needs a port")?,
        addresses: Vec::new(),
    })
}

impl PeerAddressHealth {
    fn new(address: SocketAddr) -> Self {
        Self {
            health: HealthClient::new(endpoint(address).connect_lazy()),
            serves: false,
            unanswered_checks: 0,
        }
    }

    async fn check(&mut self) {
        match self.query_health().await {
            HealthCheckAnswer::Serving => (self.serves, self.unanswered_checks) = (true, 0),
            HealthCheckAnswer::NotServing => (self.serves, self.unanswered_checks) = (false, 0),
            HealthCheckAnswer::Silent => {
                self.unanswered_checks += 1;
                self.serves &= self.unanswered_checks < UNANSWERED_CHECKS_MAX;
            }
        }
    }

    async fn query_health(&mut self) -> HealthCheckAnswer {
        let answer = self.health.check(HealthCheckRequest::default());
        match tokio::time::timeout(CHECK_TIMEOUT, answer).await {
            Ok(Ok(answer)) if answer.get_ref().status() == ServingStatus::Serving => {
                HealthCheckAnswer::Serving
            }
            // A peer without a health service is considered to serve.
            Ok(Err(status)) if status.code() == Code::Unimplemented => HealthCheckAnswer::Serving,
            Ok(_) => HealthCheckAnswer::NotServing,
            Err(_elapsed) => HealthCheckAnswer::Silent,
        }
    }
}

fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint::from_shared(format!("http://{address}"))
        .expect("a socket address is a valid authority")
        .connect_timeout(RPC_CONNECT)
        // A peer that is frozen answers no ping, though its kernel answers every packet.
        .http2_keep_alive_interval(RPC_PING)
        .keep_alive_timeout(RPC_PING_ANSWER)
        .keep_alive_while_idle(true)
        .tcp_nodelay(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_addresses_are_parsed() {
        let given = PeerAddresses::parse("http://a:1, http://b:2").expect("valid");
        let targets: Vec<(&str, u16)> = given
            .targets
            .iter()
            .map(|target| (target.host.as_str(), target.port))
            .collect();
        assert_eq!(targets, [("a", 1), ("b", 2)]);
        assert!(PeerAddresses::parse("http://a").is_err(), "no port");
        assert!(PeerAddresses::parse("").is_err(), "nothing");
    }
}
