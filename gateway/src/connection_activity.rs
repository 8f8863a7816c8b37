//! What the client of a connection does: whether requests run, and since when none has.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{StatusCode, Version};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Instant;

/// What the client of one connection does; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionActivity(Arc<ConnectionActivityState>);

#[derive(Debug)]
struct ConnectionActivityState {
    opened_at: Instant,
    /// Requests whose head was complete, ever.
    requests: AtomicU64,
    /// Requests whose answer is not complete.
    running: AtomicUsize,
    /// The end of the last answer, in milliseconds since the connection was opened.
    idle_since_ms: AtomicU64,
    is_http2: AtomicBool,
    /// Whether the connection belongs to a socket, which has time-outs of its own.
    is_upgraded: AtomicBool,
}

/// What is to be done about a connection that has done nothing for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum IdleCheck {
    /// No request has come in time.
    NoRequest,
    /// The connection has been idle for too long.
    Idle,
    /// The connection is in use; the next check is due then.
    CheckAt(Instant),
}

impl ConnectionActivity {
    /// Creates the activity of a connection that has just been accepted.
    pub(crate) fn new() -> Self {
        Self(Arc::new(ConnectionActivityState {
            opened_at: Instant::now(),
            requests: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(0),
            is_http2: AtomicBool::new(false),
            is_upgraded: AtomicBool::new(false),
        }))
    }

    /// Records that the head of a request is complete. The request runs until the result is dropped.
    pub(crate) fn begin_request(&self, version: Version) -> RunningRequest {
        let state = &self.0;
        state
            .is_http2
            .store(version == Version::HTTP_2, Ordering::Relaxed);
        state.running.fetch_add(1, Ordering::Relaxed);
        state.requests.fetch_add(1, Ordering::Relaxed);
        RunningRequest(self.clone())
    }

    /// Returns the number of the head that the client of an HTTP/1.1 connection is to send now; `None` while it is to
    /// send none, and if its heads are not separate, as in HTTP/2.
    pub(crate) fn awaited_head(&self) -> Option<u64> {
        let state = &self.0;
        let is_awaited = state.running.load(Ordering::Relaxed) == 0
            && !state.is_http2.load(Ordering::Relaxed)
            && !state.is_upgraded.load(Ordering::Relaxed);
        is_awaited.then(|| state.requests.load(Ordering::Relaxed))
    }

    /// Decides about the connection after `idle_timeout` without a request.
    pub(crate) fn check_idle(&self, idle_timeout: Duration) -> IdleCheck {
        let (state, now) = (&self.0, Instant::now());
        if state.requests.load(Ordering::Relaxed) == 0 {
            return IdleCheck::NoRequest;
        }
        if state.running.load(Ordering::Relaxed) > 0 {
            return IdleCheck::CheckAt(now + idle_timeout);
        }
        let idle_since = Duration::from_millis(state.idle_since_ms.load(Ordering::Relaxed));
        let due = state.opened_at + idle_since + idle_timeout;
        if due <= now {
            IdleCheck::Idle
        } else {
            IdleCheck::CheckAt(due)
        }
    }
}

/// A request whose answer is not complete.
#[derive(Debug)]
pub(crate) struct RunningRequest(ConnectionActivity);

impl RunningRequest {
    /// Keeps the request running until its answer has been sent.
    pub(crate) fn run_until_sent(self, answer: Response) -> Response<TrackedBody> {
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            self.0.0.is_upgraded.store(true, Ordering::Relaxed);
        }
        answer.map(|body| TrackedBody {
            body,
            _request: self,
        })
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        let state = &self.0.0;
        let elapsed_ms = u64::try_from(state.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        state.idle_since_ms.store(elapsed_ms, Ordering::Relaxed);
        state.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, whose request runs until the body is dropped.
#[derive(Debug)]
pub(crate) struct TrackedBody {
    body: Body,
    _request: RunningRequest,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
