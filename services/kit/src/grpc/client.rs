//! Channels to peers, balanced over all serving addresses, with a deadline for each call.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tower::retry::budget::{Budget, TpsBudget};

use talktime_proto::access::v1::Workload;

pub use super::balance::PeerHealth;
use super::balance::{PeerAddresses, PeerChecks, PeerTls};
use super::guarded::{GuardedChannel, is_circuit_open};
use super::user_token::attach_user;
use crate::deadlines::RPC_CALL;
use crate::error::Error;
use crate::identity::WorkloadIdentity;
use crate::{grpc, trace};

const GRPC_TIMEOUT: &str = "grpc-timeout";
const CHANGES_QUEUED_MAX: usize = 64;
const RETRY_ATTEMPTS_MAX: u32 = 3;
const RETRY_DELAY_FIRST: Duration = Duration::from_millis(25);

/// A channel to a peer; cheap to clone.
pub type PeerChannel = InterceptedService<GuardedChannel, CallContextInterceptor>;

/// The peers of a process, which it calls under its own identity; cheap to clone.
#[derive(Clone, Debug)]
pub struct PeerConnector {
    identity: WorkloadIdentity,
    /// The channels by peer and addresses. Clients of the same peer share theirs, and so one check of its health.
    channels: Arc<Mutex<HashMap<(Workload, String), CheckedChannel>>>,
}

/// A channel and the checks of its peer.
type CheckedChannel = (PeerChannel, Arc<PeerChecks>);

impl PeerConnector {
    /// Creates a connector for a process with this identity.
    pub fn new(identity: WorkloadIdentity) -> Self {
        Self {
            identity,
            channels: Arc::default(),
        }
    }

    /// Returns a channel to all addresses behind `https://host:port`, or behind several of these, separated by
    /// commas. It connects when it is first used, and only to processes that prove to be `peer`. Names are
    /// resolved periodically, so that new replicas get their share of calls, and only serving replicas are
    /// called. While none of them answers, calls fail at once, except for an occasional probe.
    ///
    /// # Errors
    /// An address is not `https`, or has no host or no port.
    pub fn connect(&self, peer: Workload, urls: &str) -> anyhow::Result<PeerChannel> {
        let (channel, _) = self.connect_and_check(peer, urls)?;
        Ok(channel)
    }

    /// Returns a channel as [`PeerConnector::connect`] does, and whether any replica behind it serves.
    ///
    /// # Errors
    /// An address is not `https`, or has no host or no port.
    pub fn connect_and_watch(
        &self,
        peer: Workload,
        urls: &str,
    ) -> anyhow::Result<(PeerChannel, PeerHealth)> {
        let (channel, checks) = self.connect_and_check(peer, urls)?;
        Ok((channel, checks.watch()))
    }

    fn connect_and_check(&self, peer: Workload, urls: &str) -> anyhow::Result<CheckedChannel> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let name = (peer, urls.to_owned());
        if let Some(known) = channels.get(&name) {
            return Ok(known.clone());
        }
        let opened = self.open_channel(peer, urls)?;
        channels.insert(name, opened.clone());
        Ok(opened)
    }

    fn open_channel(&self, peer: Workload, urls: &str) -> anyhow::Result<CheckedChannel> {
        let addresses = PeerAddresses::parse(urls, PeerTls::new(self.identity.clone(), peer))?;
        let checks = Arc::<PeerChecks>::default();
        let (channel, changes) = Channel::balance_channel(CHANGES_QUEUED_MAX);
        tokio::spawn(addresses.run(changes, checks.clone()));
        let channel = GuardedChannel::new(channel, urls.to_owned(), checks.clone());
        Ok((
            InterceptedService::new(channel, CallContextInterceptor),
            checks,
        ))
    }
}

/// Adds the current trace to every outgoing call, the current user if the method acts for one, and the remaining time if
/// the caller set no time-out.
#[derive(Clone, Debug)]
pub struct CallContextInterceptor;

impl Interceptor for CallContextInterceptor {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !request.metadata().contains_key(GRPC_TIMEOUT) {
            request.set_timeout(grpc::time_left().unwrap_or(RPC_CALL));
        }
        let (mut metadata, extensions, ()) = request.into_parts();
        attach_user(&extensions, &mut metadata);
        let mut request = Request::from_parts(metadata, extensions, ());
        let traceparent = trace::current().and_then(|value| MetadataValue::try_from(value).ok());
        if let Some(traceparent) = traceparent {
            request
                .metadata_mut()
                .insert(trace::TRACEPARENT, traceparent);
        }
        Ok(request)
    }
}

/// Limits the retries of this process, so that they do not become the larger part of the load of a failing
/// peer. A fixed number per second is always allowed, and in addition a fraction of all calls.
static RETRY_BUDGET: LazyLock<TpsBudget> =
    LazyLock::new(|| TpsBudget::new(RETRY_BUDGET_WINDOW, RETRIES_PER_SEC_MIN, RETRIES_OF_CALLS));
const RETRY_BUDGET_WINDOW: Duration = Duration::from_secs(10);
const RETRIES_PER_SEC_MIN: u32 = 10;
const RETRIES_OF_CALLS: f32 = 0.1;

/// Calls `method` of a peer with `request`, and retries it a few times, with growing pauses, while the outcome is
/// unknown. Only for methods that may safely be executed twice. At most about a tenth of all calls is retried, and
/// none to a peer whose circuit is open.
///
/// # Errors
/// The error of the last attempt.
pub async fn retry_idempotent<Client: Clone, Request: Clone, Answer>(
    client: &Client,
    method: impl AsyncFn(&mut Client, Request) -> Result<tonic::Response<Answer>, Status>,
    request: Request,
) -> Result<Answer, Error> {
    RETRY_BUDGET.deposit();
    let mut delay = RETRY_DELAY_FIRST;
    for _ in 1..RETRY_ATTEMPTS_MAX {
        let status = match method(&mut client.clone(), request.clone()).await {
            Ok(response) => return Ok(response.into_inner()),
            Err(status) => status,
        };
        let is_dead = is_circuit_open(&status);
        let error = Error::from(status);
        let is_late = grpc::time_left().is_some_and(|left| left <= delay);
        if is_dead || is_late || !error.is_outcome_unknown() || !RETRY_BUDGET.withdraw() {
            return Err(error);
        }
        tokio::time::sleep(delay).await;
        delay *= 4;
    }
    Ok(method(&mut client.clone(), request).await?.into_inner())
}
