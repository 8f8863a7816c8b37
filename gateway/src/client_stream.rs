//! The byte stream of a client's connection. It bounds the time that a client takes for the head of a request, writes the
//! messages of a socket together, and counts the connection until it is closed.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep};

use crate::address_counts::AddressEntry;
use crate::connection_activity::ConnectionActivity;
use crate::held_bytes::HeldBytes;
use crate::lingering::LingeringStream;

/// Counts a connection until it is dropped.
#[derive(Debug)]
pub(crate) struct ConnectionSlot {
    _slot: OwnedSemaphorePermit,
    /// None for the connections of proxies, which have many clients each.
    _of_address: Option<AddressEntry>,
}

impl ConnectionSlot {
    /// Counts a connection that holds these.
    pub(crate) fn new(slot: OwnedSemaphorePermit, of_address: Option<AddressEntry>) -> Self {
        metrics::gauge!("http_server_connections").increment(1);
        Self {
            _slot: slot,
            _of_address: of_address,
        }
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        metrics::gauge!("http_server_connections").decrement(1);
    }
}

/// The byte stream of a client's connection.
///
/// hyper has one time-out for the pause between two requests and for the head of the second one, so that a client
/// that may be idle for long might also send its head for as long. Here the time for a head begins with its first
/// byte. Bytes that arrive while a request runs do not count as such; of them, the time-out of hyper bounds the rest.
///
/// Once the connection has become a socket, what is written is sent with the next flush.
pub(crate) struct ClientStream {
    stream: LingeringStream,
    activity: ConnectionActivity,
    head_timeout: Duration,
    /// The head whose first bytes have arrived, with the end of its time.
    begun_head: Option<(u64, Pin<Box<Sleep>>)>,
    held: HeldBytes,
    _slot: ConnectionSlot,
}

impl ClientStream {
    /// Wraps a connection.
    pub(crate) fn new(
        stream: LingeringStream,
        activity: ConnectionActivity,
        head_timeout: Duration,
        slot: ConnectionSlot,
    ) -> Self {
        Self {
            stream,
            activity,
            head_timeout,
            begun_head: None,
            held: HeldBytes::default(),
            _slot: slot,
        }
    }

    fn poll_send_held(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.held.poll_send(Pin::new(&mut self.stream), context)
    }

    /// Forgets a head that is complete by now; begins the time of one whose first bytes have arrived.
    fn track_head(&mut self, has_read: bool) {
        let awaited = self.activity.awaited_head();
        if self.begun_head.as_ref().map(|(head, _)| *head) != awaited {
            self.begun_head = None;
        }
        if has_read
            && self.begun_head.is_none()
            && let Some(head) = awaited
        {
            self.begun_head = Some((head, Box::pin(sleep(self.head_timeout))));
        }
    }
}

impl Drop for ClientStream {
    fn drop(&mut self) {
        // The WebSocket library does not flush its answer to the close of a client.
        if !self.held.unsent().is_empty() {
            let _ = self.stream.try_write(self.held.unsent());
        }
    }
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<Result<()>> {
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.track_head(buffer.filled().len() > filled);
        if read.is_pending()
            && let Some((_, timer)) = &mut self.begun_head
            && timer.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(Error::from(ErrorKind::TimedOut)));
        }
        read
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize>> {
        let Self {
            stream,
            activity,
            held,
            ..
        } = self.get_mut();
        if activity.is_upgraded() {
            held.poll_write(Pin::new(stream), context, bytes)
        } else {
            Pin::new(stream).poll_write(context, bytes)
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_send_held(context))?;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_send_held(context))?;
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        ready!(self.poll_send_held(context))?;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
