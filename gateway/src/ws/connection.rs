//! One connection of a client, from its admission to its close.

use std::sync::Arc;

use axum::extract::ws::WebSocket;
use talktime_kit::grpc::with_user_token;

use super::channel::SocketChannel;
use super::close::{SocketRefusal, end_socket, refuse_socket};
use super::context::{AdmittedClient, SocketContext};
use super::reader::SocketResumeRequest;
use super::session::SocketSession;

/// An admitted client on a channel.
pub(super) struct SocketConnection {
    context: Arc<SocketContext>,
    channel: SocketChannel,
    admitted: AdmittedClient,
}

impl SocketConnection {
    pub(super) fn new(
        context: Arc<SocketContext>,
        channel: SocketChannel,
        admitted: AdmittedClient,
    ) -> Self {
        Self {
            context,
            channel,
            admitted,
        }
    }

    /// Serves the socket until it ends.
    pub(super) async fn run(self, socket: WebSocket, resume: SocketResumeRequest) {
        let context = self.context.clone();
        let Some(slot) = context.slots.acquire(&self.admitted.current_user).await else {
            let refusal = SocketRefusal::too_many_connections();
            return refuse_socket(socket, &refusal, context.clock.now()).await;
        };
        let gauge = metrics::gauge!("ws_connections", "channel" => self.channel.name());
        gauge.increment(1);
        let token = self.admitted.current_user.token.clone();
        with_user_token(Some(token), self.serve(socket, &resume)).await;
        gauge.decrement(1);
        context.slots.release(slot).await;
    }

    async fn serve(self, socket: WebSocket, resume: &SocketResumeRequest) {
        let Self {
            context,
            channel,
            admitted,
        } = self;
        let session = SocketSession::new(context.clone(), channel, &admitted, socket, resume);
        let (socket, end) = session.run().await;
        metrics::counter!(
            "ws_connections_ended_total",
            "channel" => channel.name(),
            "reason" => end.name(),
        )
        .increment(1);
        end_socket(socket, end, context.clock.now()).await;
    }
}
