//! Bytes that were written to a connection and wait for its flush.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

/// Bytes that are held at most: a batch of messages about statuses.
const HELD_BYTES_MAX: usize = 16 * 1024;

/// Bytes that were written to a connection and wait for its flush.
///
/// A socket sends the messages of a batch one after the other, and a system call costs many times as much as a copy of a
/// message. The WebSocket library could gather them too, but would keep the memory of the largest batch for each socket.
/// Here only connections have memory whose client is behind, and those that are writing just now.
#[derive(Debug, Default)]
pub(crate) struct HeldBytes {
    bytes: Vec<u8>,
    /// The number of bytes that have been sent.
    sent: usize,
}

impl HeldBytes {
    /// Takes over bytes to send them later. Sends what is held first if there is no room for them, and more bytes than
    /// are ever held, such as a snapshot, at once.
    pub(crate) fn poll_write(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        if self.bytes.len() + bytes.len() > HELD_BYTES_MAX {
            ready!(self.poll_send(stream.as_mut(), context))?;
        }
        if bytes.len() > HELD_BYTES_MAX {
            return stream.poll_write(context, bytes);
        }
        self.bytes.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// Sends what is held.
    pub(crate) fn poll_send(
        &mut self,
        mut stream: Pin<&mut impl AsyncWrite>,
        context: &mut Context<'_>,
    ) -> Poll<Result<()>> {
        while !self.unsent().is_empty() {
            let sent = ready!(stream.as_mut().poll_write(context, self.unsent()))?;
            if sent == 0 {
                return Poll::Ready(Err(Error::from(ErrorKind::WriteZero)));
            }
            self.sent += sent;
        }
        *self = Self::default();
        Poll::Ready(Ok(()))
    }

    /// Returns what has not been sent.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// A connection with limited room, which records its writes.
    #[derive(Default)]
    struct LimitedStream {
        room: usize,
        writes: Vec<Vec<u8>>,
    }

    impl AsyncWrite for LimitedStream {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _context: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<Result<usize>> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Poll::Pending;
            }
            self.room -= taken;
            self.writes.push(bytes[..taken].to_vec());
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn write(held: &mut HeldBytes, stream: &mut LimitedStream, bytes: &[u8]) -> Option<usize> {
        let context = &mut Context::from_waker(Waker::noop());
        match held.poll_write(Pin::new(stream), context, bytes) {
            Poll::Ready(written) => Some(written.expect("no error")),
            Poll::Pending => None,
        }
    }

    fn is_sent(held: &mut HeldBytes, stream: &mut LimitedStream) -> bool {
        let context = &mut Context::from_waker(Waker::noop());
        let sent = held.poll_send(Pin::new(stream), context);
        sent.map(|sent| sent.expect("no error")).is_ready()
    }

    #[test]
    fn a_batch_of_messages_is_one_write_and_leaves_no_memory() {
        let (mut held, mut stream) = (HeldBytes::default(), LimitedStream::default());
        stream.room = usize::MAX;
        let message = [7; 250];
        for _ in 0..64 {
            assert_eq!(write(&mut held, &mut stream, &message), Some(250));
        }
        assert!(stream.writes.is_empty());
        assert!(is_sent(&mut held, &mut stream));
        assert_eq!(stream.writes, [message.repeat(64)]);
        assert_eq!(held.bytes.capacity(), 0);
    }

    #[test]
    fn the_rest_of_a_write_follows_once_there_is_room() {
        let (mut held, mut stream) = (HeldBytes::default(), LimitedStream::default());
        stream.room = 4;
        assert_eq!(write(&mut held, &mut stream, b"first "), Some(6));
        assert!(!is_sent(&mut held, &mut stream));
        assert_eq!(held.unsent(), b"t ");
        assert_eq!(write(&mut held, &mut stream, b"second"), Some(6));
        stream.room = 100;
        assert!(is_sent(&mut held, &mut stream));
        assert_eq!(stream.writes.concat(), b"first second");
    }

    #[test]
    fn what_is_held_is_bounded() {
        let (mut held, mut stream) = (HeldBytes::default(), LimitedStream::default());
        let full = vec![1; HELD_BYTES_MAX];
        assert_eq!(write(&mut held, &mut stream, &full), Some(full.len()));
        assert_eq!(write(&mut held, &mut stream, b"more"), None);
        stream.room = usize::MAX;
        assert_eq!(write(&mut held, &mut stream, b"more"), Some(4));
        assert_eq!(stream.writes, [full]);
        assert_eq!(held.unsent(), b"more");
    }

    #[test]
    fn a_large_message_is_sent_at_once_and_in_its_place() {
        let (mut held, mut stream) = (HeldBytes::default(), LimitedStream::default());
        let large = vec![1; HELD_BYTES_MAX + 1];
        assert_eq!(write(&mut held, &mut stream, b"first"), Some(5));
        assert_eq!(write(&mut held, &mut stream, &large), None);
        stream.room = usize::MAX;
        assert_eq!(write(&mut held, &mut stream, &large), Some(large.len()));
        assert_eq!(stream.writes, [b"first".to_vec(), large]);
        assert!(held.unsent().is_empty());
    }
}
