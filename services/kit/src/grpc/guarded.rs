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

use crate::breaker::{CircuitBreaker, CircuitChange};
use crate::error::{Error, Kind, UNREACHABLE};

/// Tells a call that was not made from one that went wrong.
const CIRCUIT: &str = "circuit";
const OPEN: &str = "open";
/// A caller that gives up sooner says little about the peer.
const PATIENCE_MIN: Duration = Duration::from_millis(250);

/// A channel that is not used while its peer is dead; cheap to clone.
#[derive(Clone, Debug)]
pub struct Guarded {
    channel: Channel,
    peer: Arc<Peer>,
}

#[derive(Debug)]
struct Peer {
    name: String,
    breaker: CircuitBreaker,
}

impl Guarded {
    /// The channel to `name`, which is for the log and the metrics.
    pub(super) fn new(channel: Channel, name: String) -> Self {
        let breaker = CircuitBreaker::default();
        let peer = Arc::new(Peer { name, breaker });
        Self { channel, peer }
    }
}

impl Service<http::Request<Body>> for Guarded {
    type Response = http::Response<Body>;
    type Error = transport::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    /// The channel itself is waited for in the call: while the circuit is open nobody waits.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let started = Instant::now();
        if !self.peer.breaker.allows_call(started) {
            return ready(Ok(not_asked().into_http())).boxed();
        }
        let channel = self.channel.clone();
        let mut attempt = Attempt {
            peer: self.peer.clone(),
            started,
            is_over: false,
        };
        async move {
            let outcome = channel.oneshot(request).await;
            attempt.is_over = true;
            match &outcome {
                Ok(_) => attempt.peer.tell(attempt.peer.breaker.record_success()),
                Err(error) => attempt.failed(is_timeout(error)),
            }
            outcome
        }
        .boxed()
    }
}

/// An attempt that is dropped unanswered was waited for in vain.
struct Attempt {
    peer: Arc<Peer>,
    started: Instant,
    is_over: bool,
}

impl Attempt {
    fn failed(&self, is_timeout: bool) {
        let now = Instant::now();
        if !is_timeout || now - self.started >= PATIENCE_MIN {
            self.peer.tell(self.peer.breaker.record_failure(now));
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_over {
            self.failed(true);
        }
    }
}

impl Peer {
    fn tell(&self, change: CircuitChange) {
        let open = match change {
            CircuitChange::None => return,
            CircuitChange::Opened => true,
            CircuitChange::Closed => false,
        };
        metrics::gauge!("grpc_client_circuit_open", "peer" => self.name.clone())
            .set(f64::from(u8::from(open)));
        tracing::warn!(peer = self.name, open, "circuit");
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

fn not_asked() -> Status {
    let detail = "Please try again in a moment.";
    let mut status = Status::from(Error::new(Kind::Unavailable, UNREACHABLE, detail));
    let open = MetadataValue::from_static(OPEN);
    status.metadata_mut().insert(CIRCUIT, open);
    status
}

/// Whether the call was not even made, since the peer is dead: asking again at once is of no use.
pub(super) fn is_circuit_open(status: &Status) -> bool {
    status
        .metadata()
        .get(CIRCUIT)
        .is_some_and(|value| value == OPEN)
}
