//! Channels to peers: balanced over every address of a name, with a deadline on each call.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::mpsc::Sender;
use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::channel::Change;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::error::Error;
use crate::{grpc, trace};

/// How long a call may take when the request at hand has no deadline of its own.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
const CHANGES_QUEUED_MAX: usize = 64;
const RETRY_ATTEMPTS_MAX: u32 = 3;
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(25);

/// A channel to a peer; cheap to clone.
pub type PeerChannel = InterceptedService<Channel, Outgoing>;

/// A channel to every address behind `http://host:port`. Connects when first used; the name is
/// resolved again and again, so that new replicas get their share.
pub fn connect(url: &str) -> anyhow::Result<PeerChannel> {
    let endpoint =
        Endpoint::from_shared(url.to_owned()).with_context(|| format!("peer address {url}"))?;
    let host = endpoint
        .uri()
        .host()
        .context("a peer address needs a host")?
        .to_owned();
    let port = endpoint
        .uri()
        .port_u16()
        .context("a peer address needs a port")?;
    let (channel, changes) = Channel::balance_channel(CHANGES_QUEUED_MAX);
    tokio::spawn(follow_dns(host, port, changes));
    Ok(InterceptedService::new(channel, Outgoing))
}

/// Keeps a channel's addresses equal to what the name resolves to. While it does not resolve, the
/// last known addresses stay.
async fn follow_dns(host: String, port: u16, changes: Sender<Change<SocketAddr, Endpoint>>) {
    let mut known = HashSet::new();
    while !changes.is_closed() {
        match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(found) => {
                let found: HashSet<SocketAddr> = found.collect();
                for address in found.difference(&known) {
                    let _ = changes
                        .send(Change::Insert(*address, endpoint(*address)))
                        .await;
                }
                for address in known.difference(&found) {
                    let _ = changes.send(Change::Remove(*address)).await;
                }
                known = found;
            }
            Err(error) => tracing::warn!(host, %error, "peer does not resolve"),
        }
        tokio::time::sleep(RESOLVE_EVERY).await;
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

/// Gives every outgoing call the current trace and the time that is left.
#[derive(Clone, Debug)]
pub struct Outgoing;

impl Interceptor for Outgoing {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let timeout = grpc::time_left().unwrap_or(TIMEOUT_DEFAULT);
        request.set_timeout(timeout);
        let traceparent = trace::current().and_then(|value| MetadataValue::try_from(value).ok());
        if let Some(traceparent) = traceparent {
            request
                .metadata_mut()
                .insert(trace::TRACEPARENT, traceparent);
        }
        Ok(request)
    }
}

/// Asks again, a few times and with growing pauses, while the outcome is unknown. Only for
/// operations that may safely happen twice.
pub async fn retry_idempotent<T, F>(mut call: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<tonic::Response<T>, Status>>,
{
    let mut delay = RETRY_DELAY_FIRST;
    for _ in 1..RETRY_ATTEMPTS_MAX {
        match call().await.map_err(Error::from) {
            Ok(response) => return Ok(response.into_inner()),
            Err(error) if !error.is_outcome_unknown() => return Err(error),
            Err(error) if grpc::time_left().is_some_and(|left| left <= delay) => return Err(error),
            Err(_) => tokio::time::sleep(delay).await,
        }
        delay *= 4;
    }
    Ok(call().await?.into_inner())
}
