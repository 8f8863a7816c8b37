//! Removes listeners from open feeds when their verification is rejected or revoked.

use std::sync::Arc;
use std::time::Duration;

use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::lifecycle::ProcessLifecycle;
use talktime_kit::{Error, ErrorKind, error};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, StatusChanged};
use talktime_proto::presence::v1::{GetStatusRequest, Status};

use super::stream_state::EventStreamState;
use crate::clients::PresenceClient;

const ATTEMPTS_MAX: u32 = 10;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Removes unverified listeners from the feed of a stream; cheap to clone.
#[derive(Clone)]
pub(super) struct FeedRemover {
    presence: PresenceClient,
    lifecycle: ProcessLifecycle,
}

impl FeedRemover {
    pub(super) fn new(presence: PresenceClient, lifecycle: ProcessLifecycle) -> Self {
        Self {
            presence,
            lifecycle,
        }
    }

    /// Applies a decision on a listener's verification to the feed. A listener who is verified again returns to
    /// the feed with their next change of status.
    pub(super) fn apply_verification(&self, stream: &Arc<EventStreamState>, event: &Event) {
        let (user_id, is_verified) = match &event.kind {
            Some(Kind::VerificationReviewed(review)) => (review.user_id, review.is_verified),
            Some(Kind::VerificationRevoked(revoked)) => (revoked.user_id, false),
            _ => return,
        };
        stream.unverified.set(user_id, is_verified);
        if !is_verified {
            self.spawn_removal(stream.clone(), event.clone(), user_id);
        }
    }

    fn spawn_removal(&self, stream: Arc<EventStreamState>, event: Event, user_id: i64) {
        let remover = self.clone();
        let stopping = self.lifecycle.stopping();
        self.lifecycle.spawn(async move {
            let removal = remover.remove(&stream, &event, user_id);
            stopping.run_until_cancelled(removal).await;
        });
    }

    /// Sends `listener_offline` to the feed. The event does not contain the status, and the log may have
    /// dropped the last message about this listener, so it is loaded from presence.
    async fn remove(&self, stream: &EventStreamState, event: &Event, user_id: i64) {
        for _ in 0..ATTEMPTS_MAX {
            if !stream.unverified.contains(user_id) {
                return;
            }
            match self.load_status(user_id).await {
                Ok(status) => {
                    return stream.push_departure(status.version, event, &as_offline(status));
                }
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Err(error) => tracing::warn!(
                    user_id,
                    error = error::chain(&error),
                    "failed to load the status of an unverified listener; will retry"
                ),
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
    }

    async fn load_status(&self, user_id: i64) -> Result<Status, Error> {
        retry_idempotent(
            &self.presence,
            PresenceClient::get_status,
            GetStatusRequest { user_id },
        )
        .await
    }
}

/// Returns the status as the feed shows a listener who left it.
fn as_offline(status: Status) -> StatusChanged {
    StatusChanged {
        user_id: status.user_id,
        username: status.username,
        is_online: false,
        is_busy: status.is_busy,
        wait_time: status.wait_time,
        last_seen: status.last_seen,
        is_listener: status.is_listener,
        came_online: false,
        accepting_calls: status.accepting_calls,
    }
}
