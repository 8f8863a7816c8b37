//! Connections that end gently. A connection that is closed with bytes unread is reset, and a reset takes away
//! what its client has not read yet: the answer to a request that was refused early, or the close of a socket
//! that says what was wrong. So what still comes is read for a moment and thrown away.

use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;

/// A client that goes on sending is cut off after it.
const LINGER_MAX: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: u64 = 8 * 1024 * 1024;
const PIECE_BYTES: usize = 4 * 1024;
/// Connections that end gently at once. Others just end.
const LINGERING_MAX: usize = 1_024;

static LINGERING: AtomicUsize = AtomicUsize::new(0);

/// A connection that lingers when it is dropped.
pub struct LingeringStream(Option<TcpStream>);

impl LingeringStream {
    /// Takes over the end of this connection.
    pub fn new(stream: TcpStream) -> Self {
        Self(Some(stream))
    }

    fn stream(&mut self) -> Pin<&mut TcpStream> {
        let stream = self.0.as_mut();
        Pin::new(stream.expect("it is there until the drop"))
    }
}

impl Drop for LingeringStream {
    fn drop(&mut self) {
        let (Some(stream), Ok(runtime)) = (self.0.take(), Handle::try_current()) else {
            return;
        };
        if let Some(place) = Place::take() {
            runtime.spawn(async move {
                // A connection that is broken has ended already.
                let _ = tokio::time::timeout(LINGER_MAX, read_to_end(stream)).await;
                drop(place);
            });
        }
    }
}

async fn read_to_end(mut stream: TcpStream) -> Result<()> {
    stream.shutdown().await?;
    let mut rest = stream.take(LINGER_BYTES_MAX);
    let mut piece = [0; PIECE_BYTES];
    while rest.read(&mut piece).await? > 0 {}
    Ok(())
}

/// One of the connections that end gently at once.
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let place = Self;
        (LINGERING.fetch_add(1, Ordering::Relaxed) < LINGERING_MAX).then_some(place)
    }
}

impl Drop for Place {
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
        self.0.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
