//! Who is not verified, for a feed that shows only the verified.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use talktime_kit::grpc::client::retry_idempotent;
use talktime_kit::{Error, Kind as ErrorKind, error};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{Event, StatusChanged};
use talktime_proto::presence::v1::{GetStatusRequest, Status};

use super::Hub;
use super::hub::Epoch;

/// How often presence is asked for the status of one who is to leave the feed.
const TRIES_MAX: u32 = 10;
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Listeners whose verification was refused or taken away, as far as the stream was read.
#[derive(Default)]
pub(super) struct Unverified(RwLock<HashSet<i64>>);

impl Unverified {
    pub(super) fn contains(&self, user_id: i64) -> bool {
        let unverified = self.0.read().unwrap_or_else(PoisonError::into_inner);
        unverified.contains(&user_id)
    }

    pub(super) fn set(&self, user_id: i64, is_verified: bool) {
        let mut unverified = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if is_verified {
            unverified.remove(&user_id);
        } else {
            unverified.insert(user_id);
        }
    }
}

impl Hub {
    /// What a decision on a listener's verification means to the feed. They come back to it with
    /// their next change.
    pub(super) fn follow_verification(&self, epoch: &Arc<Epoch>, event: &Event) {
        let (user_id, is_verified) = match &event.kind {
            Some(Kind::VerificationReviewed(review)) => (review.user_id, review.is_verified),
            Some(Kind::VerificationRevoked(revoked)) => (revoked.user_id, false),
            _ => return,
        };
        epoch.unverified.set(user_id, is_verified);
        if !is_verified {
            let (hub, epoch, event) = (self.clone(), epoch.clone(), event.clone());
            tokio::spawn(async move { hub.take_from_feed(&epoch, &event, user_id).await });
        }
    }

    /// Tells the feed that a listener is gone. The event says nothing of their status, and what was
    /// told of it may be kept no longer: presence is asked, a few times.
    async fn take_from_feed(&self, epoch: &Epoch, event: &Event, user_id: i64) {
        for _ in 0..TRIES_MAX {
            if !epoch.unverified.contains(user_id) {
                return;
            }
            match self.status_of(user_id).await {
                Ok(status) => return epoch.tell_gone(status.version, event, &unseen(status)),
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Err(error) => tracing::warn!(
                    user_id,
                    error = error::chain(&error),
                    "a status is asked for again"
                ),
            }
            tokio::time::sleep(TRY_AGAIN_AFTER).await;
        }
    }

    async fn status_of(&self, user_id: i64) -> Result<Status, Error> {
        retry_idempotent(|| {
            let mut presence = self.presence().clone();
            async move { presence.get_status(GetStatusRequest { user_id }).await }
        })
        .await
    }
}

/// As the feed shows one who is not in it.
fn unseen(status: Status) -> StatusChanged {
    StatusChanged {
        user_id: status.user_id,
        username: status.username,
        is_online: false,
        is_busy: status.is_busy,
        wait_time: status.wait_time,
        last_seen: status.last_seen,
        is_listener: status.is_listener,
        came_online: false,
    }
}
