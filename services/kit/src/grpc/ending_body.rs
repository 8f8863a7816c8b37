//! The body of a request that knows with its last frame that none follows.
//!
//! The body of tonic learns of its end when it is asked for one more frame, so that HTTP/2 sends an empty frame with the
//! mark of the end behind the message. From 256 bytes on h2 writes that frame separately: one more record of TLS, call of the
//! system and wake-up of the peer, which waits for the end before it begins. This body asks for the next frame before it
//! returns one, so that the message itself carries the mark.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame};
use tonic::Status;
use tonic::body::Body;

type BodyFrame = Result<Frame<Bytes>, Status>;

/// A body that looks one frame ahead.
pub(super) struct EndingBody {
    body: Body,
    /// The frame after the last one that was returned, if it was ready by then.
    ahead: Option<BodyFrame>,
    has_ended: bool,
}

impl EndingBody {
    /// Wraps a body.
    pub(super) fn new(body: Body) -> Self {
        let has_ended = body.is_end_stream();
        Self {
            body,
            ahead: None,
            has_ended,
        }
    }

    fn poll_body(&mut self, context: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.has_ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }
}

impl HttpBody for EndingBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BodyFrame>> {
        let frame = match self.ahead.take() {
            Some(frame) => Some(frame),
            None => ready!(self.poll_body(context)),
        };
        // While the next frame is not ready, the end is not known, and this task is woken once it is.
        if let Poll::Ready(next) = self.poll_body(context) {
            self.ahead = next;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended && self.ahead.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use axum::body::Body as StreamBody;
    use futures::channel::mpsc;
    use futures::{FutureExt, stream};

    use super::*;

    fn streamed(chunks: Vec<Result<&'static str, Status>>) -> EndingBody {
        EndingBody::new(Body::new(StreamBody::from_stream(stream::iter(chunks))))
    }

    /// Returns the text of the next frame, and whether the body has ended with it; `None` without a frame.
    async fn read(body: &mut EndingBody) -> Option<(Result<String, ()>, bool)> {
        let frame = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await?;
        let text = frame.map_err(drop).map(|frame| {
            let data = frame.into_data().expect("data");
            String::from_utf8(data.to_vec()).expect("UTF-8")
        });
        Some((text, body.is_end_stream()))
    }

    #[tokio::test]
    async fn the_last_frame_is_known_as_such() {
        let mut body = streamed(vec![Ok("first"), Ok("last")]);
        assert!(!body.is_end_stream());
        assert_eq!(read(&mut body).await, Some((Ok("first".to_owned()), false)));
        assert_eq!(read(&mut body).await, Some((Ok("last".to_owned()), true)));
        assert_eq!(read(&mut body).await, None);
        assert!(EndingBody::new(Body::empty()).is_end_stream());
    }

    #[tokio::test]
    async fn a_frame_does_not_wait_for_the_next_one() {
        let (mut sender, receiver) = mpsc::channel::<Result<&str, Status>>(2);
        let mut body = EndingBody::new(Body::new(StreamBody::from_stream(receiver)));
        sender.try_send(Ok("first")).expect("room");
        assert_eq!(read(&mut body).await, Some((Ok("first".to_owned()), false)));
        assert!(read(&mut body).now_or_never().is_none(), "nothing is there");
        sender.try_send(Ok("last")).expect("room");
        drop(sender);
        assert_eq!(read(&mut body).await, Some((Ok("last".to_owned()), true)));
        assert_eq!(read(&mut body).await, None);
    }

    #[tokio::test]
    async fn an_error_comes_after_the_frames_before_it() {
        let refused = Err(Status::internal("refused"));
        let mut body = streamed(vec![Ok("first"), refused, Ok("never")]);
        assert_eq!(read(&mut body).await, Some((Ok("first".to_owned()), false)));
        assert_eq!(read(&mut body).await, Some((Err(()), true)));
        assert_eq!(read(&mut body).await, None);
    }
}
