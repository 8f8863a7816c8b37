//! Selects the addresses over which a channel is balanced: those that the names of a peer resolve to and that
//! serve.
//!
//! A channel on its own keeps using an address that refuses connections. Requests to it fail at once, so that
//! it looks idle and gets more than its share. Therefore the health of every address is checked, and only
//! serving addresses are used. A draining peer reports it while it still answers, and is removed before it
//! closes. If no address serves, the addresses that served last are used, or else all: a request must fail
//! rather than wait, and it finds the first peer that recovers.
//!
//! A peer that nobody calls is checked less often. The first call afterwards waits for a check.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use futures::future::join_all;
use talktime_proto::access::v1::Workload;
use tokio::sync::mpsc::Sender;
use tonic::Code;
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use super::transport;
use crate::deadlines::{NAME_LOOKUP, RPC_CONNECT, RPC_PING, RPC_PING_ANSWER};
use crate::error::chain;
use crate::identity::WorkloadIdentity;
use crate::pace::{FrequentPolls, PollPace};

const RESOLVE_EVERY: Duration = Duration::from_secs(5);
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Interval of the checks while nobody calls the peer.
const CHECK_UNUSED_EVERY: Duration = Duration::from_secs(10);
/// Interval of the checks while no address serves.
const CHECK_WHILE_DOWN_EVERY: Duration = Duration::from_millis(200);
const CHECK_TIMEOUT: Duration = Duration::from_millis(500);
/// The longest time for which the first call after a pause waits for a check. It exceeds [`CHECK_TIMEOUT`].
const CHECK_AWAITED_MAX: Duration = Duration::from_millis(600);
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
    endpoint: Endpoint,
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

/// How addresses of a peer are connected to.
pub(super) struct PeerTls {
    identity: WorkloadIdentity,
    peer: Workload,
}

impl PeerTls {
    /// Connects with `identity` to processes that prove to be `peer`.
    pub(super) fn new(identity: WorkloadIdentity, peer: Workload) -> Self {
        Self { identity, peer }
    }

    /// Returns an endpoint with the certificate of this moment. Its connections are pinged while calls wait for answers. One
    /// without calls has nobody whom its failure delays: the address is checked all the same, and the first call pings
    /// at once.
    fn endpoint(&self, address: SocketAddr) -> anyhow::Result<Endpoint> {
        let endpoint = transport::build_endpoint(&self.identity, self.peer, address)?
            .connect_timeout(RPC_CONNECT)
            // A peer that is frozen answers no ping, though its kernel answers every packet.
            .http2_keep_alive_interval(RPC_PING)
            .keep_alive_timeout(RPC_PING_ANSWER)
            .keep_alive_while_idle(false)
            .tcp_nodelay(true);
        Ok(endpoint)
    }
}

/// The addresses of a peer.
pub(super) struct PeerAddresses {
    tls: PeerTls,
    targets: Vec<ResolvedPeerName>,
    peers: HashMap<SocketAddr, PeerAddressHealth>,
    /// The addresses that the channel uses.
    used: HashSet<SocketAddr>,
}

/// Whether a peer serves at any of its addresses, as of the last check, which is made every second while this or a clone of
/// it exists; cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerHealth {
    serves: Arc<AtomicBool>,
    _frequent_checks: FrequentPolls,
}

impl PeerHealth {
    /// Returns whether the peer serves. It is false before the first check.
    pub fn serves(&self) -> bool {
        self.serves.load(Ordering::Relaxed)
    }
}

/// The results of a peer's checks for its callers, and the pace of the checks.
#[derive(Debug, Default)]
pub(super) struct PeerChecks {
    serves: Arc<AtomicBool>,
    pace: PollPace,
}

impl PeerChecks {
    /// Returns the health of the peer.
    pub(super) fn watch(&self) -> PeerHealth {
        PeerHealth {
            serves: self.serves.clone(),
            _frequent_checks: self.pace.hold(),
        }
    }

    /// Records a call, which waits for a check if the last one may be long ago.
    pub(super) async fn record_call(&self) {
        self.pace.record_use(CHECK_AWAITED_MAX).await;
    }

    fn record(&self, serves: bool) {
        self.serves.store(serves, Ordering::Relaxed);
        self.pace.record_poll();
    }
}

impl PeerAddresses {
    /// Parses `https://host:port`, or several of these, separated by commas.
    pub(super) fn parse(urls: &str, tls: PeerTls) -> anyhow::Result<Self> {
        Ok(Self {
            tls,
            targets: parse_peer_names(urls)?,
            peers: HashMap::new(),
            used: HashSet::new(),
        })
    }

    /// Updates the addresses of a channel, and `checks`, until the channel is dropped.
    pub(super) async fn run(
        mut self,
        changes: Sender<Change<SocketAddr, Endpoint>>,
        checks: Arc<PeerChecks>,
    ) {
        let mut resolved_at: Option<Instant> = None;
        while !changes.is_closed() {
            if resolved_at.is_none_or(|at| at.elapsed() >= RESOLVE_EVERY) {
                self.resolve().await;
                resolved_at = Some(Instant::now());
            }
            if self.tls.identity.has_changed() {
                self.renew_connections(&changes).await;
            }
            self.check().await;
            self.update_channel(&changes).await;
            let serves = self.peers.values().any(|peer| peer.serves);
            checks.record(serves);
            if !serves {
                tokio::time::sleep(CHECK_WHILE_DOWN_EVERY).await;
            } else if self.peers.values().any(PeerAddressHealth::is_doubtful) {
                tokio::time::sleep(CHECK_EVERY).await;
            } else {
                checks.pace.wait(CHECK_EVERY, CHECK_UNUSED_EVERY).await;
            }
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
            let Entry::Vacant(entry) = self.peers.entry(address) else {
                continue;
            };
            if let Some(endpoint) = build_endpoint(&self.tls, address) {
                entry.insert(PeerAddressHealth::new(endpoint));
            }
        }
    }

    /// Replaces all connections by ones with the new certificate; requests under way end on the old ones.
    async fn renew_connections(&mut self, changes: &Sender<Change<SocketAddr, Endpoint>>) {
        for (address, peer) in &mut self.peers {
            if let Some(endpoint) = build_endpoint(&self.tls, *address) {
                peer.connect_to(endpoint);
            }
        }
        for address in &self.used {
            insert_address(&self.tls, changes, *address).await;
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
        for address in wanted.difference(&self.used) {
            insert_address(&self.tls, changes, *address).await;
        }
        for address in self.used.difference(&wanted) {
            // A send fails only if the channel was dropped, and then this task ends, too.
            let _ = changes.send(Change::Remove(*address)).await;
        }
        self.used = wanted;
    }
}

/// Makes the channel use an address, or reconnect to it.
async fn insert_address(
    tls: &PeerTls,
    changes: &Sender<Change<SocketAddr, Endpoint>>,
    address: SocketAddr,
) {
    if let Some(endpoint) = build_endpoint(tls, address) {
        // A send fails only if the channel was dropped, and then the task of the addresses ends, too.
        let _ = changes.send(Change::Insert(address, endpoint)).await;
    }
}

/// Returns an endpoint, or nothing if the certificate cannot be used.
fn build_endpoint(tls: &PeerTls, address: SocketAddr) -> Option<Endpoint> {
    let endpoint = tls.endpoint(address).inspect_err(|error| {
        tracing::error!(
            %address,
            error = chain(error.as_ref()),
            "failed to use the certificate for a peer; it is tried again after the next change"
        );
    });
    endpoint.ok()
}

fn parse_peer_names(urls: &str) -> anyhow::Result<Vec<ResolvedPeerName>> {
    let names = urls.split(',').map(|url| parse_peer_name(url.trim()));
    names.collect()
}

fn parse_peer_name(url: &str) -> anyhow::Result<ResolvedPeerName> {
    let uri: Uri = url.parse().with_context(|| format!("peer address {url}"))?;
    ensure!(
        uri.scheme_str() == Some("https"),
        "the peer address {url} does not begin with https://"
    );
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
    fn new(endpoint: Endpoint) -> Self {
        Self {
            health: HealthClient::new(endpoint.connect_lazy()),
            endpoint,
            serves: false,
            unanswered_checks: 0,
        }
    }

    /// Checks over a new connection from now on.
    fn connect_to(&mut self, endpoint: Endpoint) {
        self.endpoint = endpoint;
        self.reconnect();
    }

    fn reconnect(&mut self) {
        self.health = HealthClient::new(self.endpoint.connect_lazy());
    }

    async fn check(&mut self) {
        match self.query_health().await {
            HealthCheckAnswer::Serving => (self.serves, self.unanswered_checks) = (true, 0),
            HealthCheckAnswer::NotServing => (self.serves, self.unanswered_checks) = (false, 0),
            HealthCheckAnswer::Silent => {
                self.unanswered_checks += 1;
                self.serves &= self.unanswered_checks < UNANSWERED_CHECKS_MAX;
                if self.unanswered_checks.is_multiple_of(UNANSWERED_CHECKS_MAX) {
                    // If packets are lost, the old connection would send again after ever longer pauses.
                    self.reconnect();
                }
            }
        }
    }

    /// Returns whether the last check was not answered, so that further ones must decide.
    fn is_doubtful(&self) -> bool {
        self.unanswered_checks > 0
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_addresses_are_parsed() {
        let names = parse_peer_names("https://a:1, https://b:2").expect("valid");
        let targets: Vec<(&str, u16)> = names
            .iter()
            .map(|target| (target.host.as_str(), target.port))
            .collect();
        assert_eq!(targets, [("a", 1), ("b", 2)]);
        assert!(parse_peer_names("https://a").is_err(), "no port");
        assert!(parse_peer_names("http://a:1").is_err(), "no TLS");
        assert!(parse_peer_names("").is_err(), "nothing");
    }
}
