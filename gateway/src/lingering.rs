//! A lingering close. The system resets a connection that is closed with unread bytes, and a reset makes the client
//! lose data that it has not read yet, such as the answer to a request that was refused early, or the close code of a
//! socket. So the server stops writing first, and reads and discards what the client still sends for a moment.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

/// The connection is closed after this time or this many bytes.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: u64 = 8 * 1024 * 1024;
const CHUNK_BYTES: usize = 4 * 1024;
/// Connections that linger at once. Any others are closed at once.
const LINGERING_MAX: usize = 1_024;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// A connection that lingers when it is dropped.
pub struct LingeringStream {
    stream: Option<TcpStream>,
    tasks: TaskTracker,
}

impl LingeringStream {
    /// Wraps a connection, which lingers in a task of `tasks`.
    pub fn new(stream: TcpStream, tasks: TaskTracker) -> Self {
        Self {
            stream: Some(stream),
            tasks,
        }
    }

    /// Writes as much as the connection accepts at once, and returns how much that is.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> Result<usize> {
        let stream = self.stream.as_ref();
        stream.map_or(Ok(0), |stream| stream.try_write(bytes))
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        let stream = self.stream.as_mut();
        Pin::new(stream.expect("the stream is taken only by the drop"))
    }
}

impl Drop for LingeringStream {
    fn drop(&mut self) {
        let (Some(stream), Ok(runtime)) = (self.stream.take(), Handle::try_current()) else {
            return;
        };
        if let Some(permit) = LingeringConnectionPermit::acquire() {
            let lingering = async move {
                // An error means that the connection has ended already.
                let _ = tokio::time::timeout(LINGER_MAX, read_to_end(stream)).await;
                drop(permit);
            };
            self.tasks.spawn_on(lingering, &runtime);
        }
    }
}

async fn read_to_end(mut stream: TcpStream) -> Result<()> {
    stream.shutdown().await?;
    let mut rest = stream.take(LINGER_BYTES_MAX);
    let mut chunk = [0; CHUNK_BYTES];
    while rest.read(&mut chunk).await? > 0 {}
    Ok(())
}

/// Counts one lingering connection until it is dropped.
struct LingeringConnectionPermit;

impl LingeringConnectionPermit {
    fn acquire() -> Option<Self> {
        let permit = Self;
        (LINGERING.fetch_add(1, Ordering::Relaxed) < LINGERING_MAX).then_some(permit)
    }
}

impl Drop for LingeringConnectionPermit {
    fn drop(&mut self) {
        LINGERING.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for LingeringStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        self.stream().poll_read(context, buffer)
    }
}

impl AsyncWrite for LingeringStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        self.stream().poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream().poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.stream().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        self.stream().poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream
            .as_ref()
            .is_some_and(AsyncWrite::is_write_vectored)
    }
}
