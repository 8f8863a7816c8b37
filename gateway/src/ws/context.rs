//! The parts that all sockets of this replica share, and what is known about a client once it is admitted.

use std::sync::Arc;
use std::time::Duration;

use talktime_kit::Clock;
use talktime_kit::lifecycle::ProcessLifecycle;

use super::connection_slots::SocketConnectionSlots;
use super::snapshot::ChannelSnapshotLoader;
use super::stream_state::EventStreamState;
use super::tickets::SocketTickets;
use super::viewer_registry::ViewerHandle;
use crate::clients::CallsClient;
use crate::config::SocketsConfig;
use crate::heartbeats::HeartbeatForwarder;
use crate::token::{CurrentUser, TokenVerifier};

/// The parts that all sockets of this replica share.
pub(super) struct SocketContext {
    pub(super) tokens: TokenVerifier,
    pub(super) tickets: SocketTickets,
    /// Whether a token in the address of a socket is accepted.
    pub(super) accepts_query_tokens: bool,
    pub(super) slots: SocketConnectionSlots,
    pub(super) snapshots: ChannelSnapshotLoader,
    pub(super) heartbeats: HeartbeatForwarder,
    pub(super) calls: CallsClient,
    /// NATS, for the signals of calls that the platform carries.
    pub(super) nats: async_nats::Client,
    pub(super) lifecycle: ProcessLifecycle,
    pub(super) clock: Clock,
    pub(super) timeouts: SocketTimeouts,
}

#[derive(Clone, Copy)]
pub(super) struct SocketTimeouts {
    pub(super) ping_every: Duration,
    /// A client that is silent for this long is considered gone.
    pub(super) silence_max: Duration,
    /// A client that does not read a message within this time is too slow.
    pub(super) write_max: Duration,
}

impl SocketTimeouts {
    pub(super) fn new(config: SocketsConfig) -> Self {
        Self {
            ping_every: Duration::from_millis(config.ping_every_ms.max(1)),
            silence_max: Duration::from_millis(config.silence_max_ms),
            write_max: Duration::from_millis(config.unread_max_ms),
        }
    }
}

/// A client whose token was accepted.
pub(super) struct AdmittedClient {
    pub(super) current_user: CurrentUser,
    pub(super) viewer: ViewerHandle,
    pub(super) stream: Arc<EventStreamState>,
}
