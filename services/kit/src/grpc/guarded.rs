//! A channel behind a circuit breaker.

use std::error::Error as _;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::future::{BoxFuture, FutureExt, ready};
use tonic::body::Body;
use tonic::metadata::MetadataValue;
use tonic::transport::{self, Channel};
use tonic::{Status, TimeoutExpired};
use tower::{Service, ServiceExt};

use super::balance::PeerChecks;
use super::ending_body::EndingBody;
use crate::breaker::{CircuitBreaker, CircuitChange};
use crate::deadlines::count_missed;
use crate::error::{Error, ErrorKind, UNREACHABLE};

/// Metadata key that marks a call that was not made, because the circuit is open.
const CIRCUIT: &str = "circuit";
const OPEN: &str = "open";
/// A time-out after less than this does not count as a failure, since it says little about the peer.
const COUNTED_TIMEOUT_MIN: Duration = Duration::from_millis(250);

/// A channel that is not used while the circuit of its peer is open; cheap to clone.
#[derive(Clone, Debug)]
pub struct GuardedChannel {
    channel: Channel,
    peer: Arc<GuardedPeer>,
}

#[derive(Debug)]
struct GuardedPeer {
    name: String,
    breaker: CircuitBreaker,
    checks: Arc<PeerChecks>,
}

impl GuardedChannel {
    /// Returns a guarded channel. `name` identifies the peer in the log and the metrics.
    pub(super) fn new(channel: Channel, name: String, checks: Arc<PeerChecks>) -> Self {
        let peer = Arc::new(GuardedPeer {
            name,
            breaker: CircuitBreaker::default(),
            checks,
        });
        Self { channel, peer }
    }
}

impl Service<http::Request<Body>> for GuardedChannel {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    /// Always ready: the call itself waits for the channel, so that nobody waits while the circuit is open.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !self.peer.breaker.allows_call(Instant::now()) {
            return ready(Ok(circuit_open_status().into_http())).boxed();
        }
        let (channel, peer) = (self.channel.clone(), self.peer.clone());
        let request = request.map(|body| Body::new(EndingBody::new(body)));
        async move {
            // The wait for a check is not the peer's, since nothing is sent yet.
            peer.checks.record_call().await;
            let mut attempt = PeerCallAttempt {
                peer,
                started: Instant::now(),
                is_answered: false,
            };
            let outcome = channel.oneshot(request).await;
            attempt.is_answered = true;
            match &outcome {
                Ok(_) => attempt
                    .peer
                    .report_change(attempt.peer.breaker.record_success()),
                Err(error) if is_timeout(error) => attempt.record_timeout(),
                Err(_) => attempt.record_failure(),
            }
            outcome
        }
        .boxed()
    }
}

/// A call under way. If it is dropped before it is answered, it counts as timed out, unless its caller soon stopped waiting.
struct PeerCallAttempt {
    peer: Arc<GuardedPeer>,
    started: Instant,
    is_answered: bool,
}

impl PeerCallAttempt {
    fn record_failure(&self) {
        let change = self.peer.breaker.record_failure(Instant::now());
        self.peer.report_change(change);
    }

    fn record_timeout(&self) {
        count_missed(&self.peer.name);
        if self.started.elapsed() >= COUNTED_TIMEOUT_MIN {
            self.record_failure();
        }
    }
}

impl Drop for PeerCallAttempt {
    fn drop(&mut self) {
        if !self.is_answered && self.started.elapsed() >= COUNTED_TIMEOUT_MIN {
            self.record_timeout();
        }
    }
}

impl GuardedPeer {
    fn report_change(&self, change: CircuitChange) {
        let open = match change {
            CircuitChange::None => return,
            CircuitChange::Opened => true,
            CircuitChange::Closed => false,
        };
        metrics::gauge!("grpc_client_circuit_open", "peer" => self.name.clone())
            .set(f64::from(u8::from(open)));
        if open {
            tracing::warn!(
                peer = self.name,
                "circuit opened; calls fail at once until a probe succeeds"
            );
        } else {
            tracing::info!(peer = self.name, "circuit closed; calls are made again");
        }
    }
}

fn is_timeout(error: &transport::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.is::<TimeoutExpired>() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn circuit_open_status() -> Status {
    let detail = "Please try again in a moment.";
    let mut status = Status::from(Error::new(ErrorKind::Unavailable, UNREACHABLE, detail));
    let open = MetadataValue::from_static(OPEN);
    status.metadata_mut().insert(CIRCUIT, open);
    status
}

/// Returns whether the call was not made because the circuit is open. A retry at once would fail as well.
pub(super) fn is_circuit_open(status: &Status) -> bool {
    status
        .metadata()
        .get(CIRCUIT)
        .is_some_and(|value| value == OPEN)
}
