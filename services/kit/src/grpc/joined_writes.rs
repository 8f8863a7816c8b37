//! Joins the writes of an answer. Each write is a record of TLS, a call of the system and, for the client, a wake-up.
//!
//! h2 joins the frames that it has to send in a buffer of its own. A message from 256 bytes on it would rather pass on as it
//! is, beside the frames before it, and writes what follows, the trailers of an answer, separately. It does so from 1,024
//! bytes on where the stream cannot write several slices at once. Encryption copies each byte anyway, so this stream says
//! that it cannot, and joins what it is given until it is flushed.

use std::io::Result;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tonic::transport::server::Connected;

/// More than this is written without a flush: the greatest record of TLS.
const JOINED_BYTES_MAX: usize = 16 * 1024;

/// A stream whose writes are joined until it is flushed.
pub(super) struct JoinedWrites<S>(BufWriter<S>);

impl<S: AsyncWrite> JoinedWrites<S> {
    /// Joins the writes to a stream.
    pub(super) fn new(stream: S) -> Self {
        Self(BufWriter::with_capacity(JOINED_BYTES_MAX, stream))
    }
}

impl<S: AsyncWrite + Connected> Connected for JoinedWrites<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> S::ConnectInfo {
        self.0.get_ref().connect_info()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for JoinedWrites<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for JoinedWrites<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    /// Records each write.
    #[derive(Default)]
    struct RecordedWrites(Vec<Vec<u8>>);

    impl AsyncWrite for RecordedWrites {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<Result<usize>> {
            self.0.push(bytes.to_vec());
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }
    }

    #[tokio::test]
    async fn what_comes_before_a_flush_is_written_at_once() {
        let mut stream = JoinedWrites::new(RecordedWrites::default());
        assert!(!stream.is_write_vectored(), "h2 must join frames as well");
        stream.write_all(b"head").await.expect("in memory");
        stream.write_all(b" and message").await.expect("in memory");
        assert!(stream.0.get_ref().0.is_empty());
        stream.flush().await.expect("in memory");
        stream.write_all(b"trailers").await.expect("in memory");
        stream.shutdown().await.expect("in memory");
        let expected = [b"head and message".to_vec(), b"trailers".to_vec()];
        assert_eq!(stream.0.get_ref().0, expected);
    }

    #[tokio::test]
    async fn more_than_a_record_does_not_wait_for_a_flush() {
        let mut stream = JoinedWrites::new(RecordedWrites::default());
        stream.write_all(b"head").await.expect("in memory");
        let message = vec![7; JOINED_BYTES_MAX];
        stream.write_all(&message).await.expect("in memory");
        assert_eq!(stream.0.get_ref().0, [b"head".to_vec(), message]);
    }
}
