//! The activity of the client of a connection: whether requests run, and since when none has.

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

/// Longest time for which a running request does nothing: longer than the time-outs of all requests. After it, its client
/// has stopped to read the answer, and keeps it in memory.
const STALLED_AFTER: Duration = Duration::from_mins(3);

/// The activity of the client of one connection; cheap to clone.
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
    /// The last start of a request, or the last part of an answer that was sent, in milliseconds as before.
    progress_ms: AtomicU64,
    is_http2: AtomicBool,
    /// Whether the connection belongs to a socket, which has time-outs of its own.
    is_upgraded: AtomicBool,
}

/// The state of a connection that may have done nothing for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum IdleCheck {
    /// No request has come in time.
    NoRequest,
    /// The connection has been idle for too long.
    Idle,
    /// The connection is in use; the next check is due then.
    CheckAt(Instant),
}

impl ConnectionActivityState {
    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl ConnectionActivity {
    /// Creates the activity of a connection that has just been accepted.
    pub(crate) fn new() -> Self {
        Self(Arc::new(ConnectionActivityState {
            opened_at: Instant::now(),
            requests: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(0),
            progress_ms: AtomicU64::new(0),
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
        self.record_progress();
        RunningRequest(self.clone())
    }

    fn record_progress(&self) {
        self.0
            .progress_ms
            .store(self.0.elapsed_ms(), Ordering::Relaxed);
    }

    /// Returns the number of the head that the client of an HTTP/1.1 connection is to send now; `None` while it is to
    /// send none, and if its heads are not separate, as in HTTP/2.
    pub(crate) fn awaited_head(&self) -> Option<u64> {
        let state = &self.0;
        let is_awaited = state.running.load(Ordering::Relaxed) == 0
            && !state.is_http2.load(Ordering::Relaxed)
            && !self.is_upgraded();
        is_awaited.then(|| state.requests.load(Ordering::Relaxed))
    }

    /// Returns whether the connection belongs to a socket.
    pub(crate) fn is_upgraded(&self) -> bool {
        self.0.is_upgraded.load(Ordering::Relaxed)
    }

    /// Decides about the connection after `idle_timeout` without a request.
    pub(crate) fn check_idle(&self, idle_timeout: Duration) -> IdleCheck {
        let (state, now) = (&self.0, Instant::now());
        if state.requests.load(Ordering::Relaxed) == 0 {
            return IdleCheck::NoRequest;
        }
        let (since_ms, timeout) = if state.running.load(Ordering::Relaxed) > 0 {
            (&state.progress_ms, idle_timeout.max(STALLED_AFTER))
        } else {
            (&state.idle_since_ms, idle_timeout)
        };
        let since = Duration::from_millis(since_ms.load(Ordering::Relaxed));
        let due = state.opened_at + since + timeout;
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
            request: self,
        })
    }
}

impl Drop for RunningRequest {
    fn drop(&mut self) {
        let state = &self.0.0;
        state
            .idle_since_ms
            .store(state.elapsed_ms(), Ordering::Relaxed);
        state.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The body of an answer, whose request runs until the body is dropped.
#[derive(Debug)]
pub(crate) struct TrackedBody {
    body: Body,
    request: RunningRequest,
}

impl HttpBody for TrackedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.request.0.record_progress();
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
