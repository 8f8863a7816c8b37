//! Handles the events of presence, calls and verification: the feed's read model, ratings of listeners, and photos.

use std::collections::BTreeMap;

use talktime_kit::Error;
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::{EventHandler, ReceivedEvent};
use talktime_proto::datetime;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallEnded, Event, StatusChanged};
use tracing::Span;

use crate::store::feed_listeners::{self, ListenerCallTotals, ListenerStatus};
use crate::store::users;

/// Applies statuses, calls and verifications to the feed's read model.
pub struct FeedEventHandler;

/// The events of a batch, reduced to at most one change of each kind for a listener.
#[derive(Default)]
struct FeedChangeBatch {
    /// The newest status of each listener.
    statuses: BTreeMap<i64, ListenerStatus>,
    /// The sum of the calls of each listener.
    totals: BTreeMap<i64, ListenerCallTotals>,
}

impl EventHandler for FeedEventHandler {
    // Only events write to the feed's read model, so that a long transaction delays no request.
    const MESSAGES_PER_TRANSACTION_MAX: usize = 64;

    fn wants(&self, event: &Event) -> bool {
        match &event.kind {
            Some(Kind::CallEnded(call)) => has_talk_time(call),
            // The status of a new listener is published again when the role is granted.
            Some(Kind::StatusChanged(status)) => status.is_listener,
            Some(Kind::VerificationReviewed(_) | Kind::VerificationRevoked(_)) => true,
            _ => false,
        }
    }

    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let span = Span::current();
        self.handle_all(tx, vec![ReceivedEvent { event, span }])
            .await
    }

    async fn handle_all(
        &self,
        tx: &mut PgConnection,
        events: Vec<ReceivedEvent>,
    ) -> Result<(), Error> {
        let mut changes = FeedChangeBatch::default();
        for ReceivedEvent { event, .. } in events {
            let version = event.version;
            match event.kind {
                Some(Kind::StatusChanged(status)) => changes.add_status(version, &status),
                Some(Kind::CallEnded(call)) => changes.add_call(&call),
                Some(Kind::VerificationReviewed(review)) => {
                    let (user_id, is_verified) = (review.user_id, review.is_verified);
                    feed_listeners::update_verified(tx, user_id, version, is_verified).await?;
                }
                Some(Kind::VerificationRevoked(revoked)) => {
                    let (user_id, is_verified) = (revoked.user_id, false);
                    feed_listeners::update_verified(tx, user_id, version, is_verified).await?;
                }
                _ => {}
            }
        }
        changes.store(tx).await?;
        Ok(())
    }
}

impl FeedChangeBatch {
    fn add_status(&mut self, version: i64, status: &StatusChanged) {
        let status = listener_status(version, status);
        let newest = self.statuses.entry(status.user_id).or_insert(status);
        if newest.version < status.version {
            *newest = status;
        }
    }

    fn add_call(&mut self, call: &CallEnded) {
        if has_talk_time(call) {
            let totals = self.totals.entry(call.listener_id).or_default();
            totals.calls += 1;
            totals.secs += call.duration_seconds;
        }
    }

    async fn store(self, tx: &mut PgConnection) -> sqlx::Result<()> {
        if !self.statuses.is_empty() {
            let statuses: Vec<ListenerStatus> = self.statuses.into_values().collect();
            feed_listeners::update_statuses(tx, &statuses).await?;
        }
        if !self.totals.is_empty() {
            feed_listeners::add_call_totals(tx, &self.totals).await?;
        }
        Ok(())
    }
}

/// Sets the rating of each listener to the mean of its callers' ratings. This handler is separate from that of
/// the feed because it writes to a table that requests write to as well.
pub struct RatingEventHandler;

impl EventHandler for RatingEventHandler {
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        if let Some(Kind::CallRated(rated)) = event.kind {
            let (stars, ratings) = (rated.stars_total, rated.ratings_total);
            users::update_rating(tx, rated.listener_id, stars, ratings).await?;
        }
        Ok(())
    }
}

/// Makes an approved photo the image of its user, and clears it when it is no longer public. This handler is
/// separate from that of the feed because it writes to a table that requests write to as well.
pub struct PhotoEventHandler;

impl EventHandler for PhotoEventHandler {
    fn wants(&self, event: &Event) -> bool {
        matches!(
            event.kind,
            Some(Kind::PhotoReviewed(_) | Kind::PhotoDeleted(_))
        )
    }

    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let version = event.version;
        match event.kind {
            Some(Kind::PhotoReviewed(review)) => {
                // The address is absent if a pending photo was rejected, which was never an image.
                let Some(image_url) = review.image_url else {
                    return Ok(());
                };
                if review.status == "approved" {
                    users::update_photo(tx, review.user_id, version, &image_url).await?;
                } else {
                    users::clear_photo(tx, review.user_id, version, &image_url).await?;
                }
            }
            Some(Kind::PhotoDeleted(deleted)) => {
                users::clear_photo(tx, deleted.user_id, version, &deleted.image_url).await?;
            }
            _ => {}
        }
        Ok(())
    }
}

fn listener_status(version: i64, status: &StatusChanged) -> ListenerStatus {
    ListenerStatus {
        user_id: status.user_id,
        version,
        is_online: status.is_online,
        is_busy: status.is_busy,
        accepting_calls: status.takes_calls(),
        wait_time: status.wait_time,
        last_seen: datetime(status.last_seen.as_ref()),
    }
}

/// Returns whether a call counts for the listener. A call that never began, or was undone, does not.
fn has_talk_time(call: &CallEnded) -> bool {
    call.duration_seconds >= 1 && matches!(call.status.as_str(), "completed" | "dropped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_with_talk_time_count() {
        for (status, duration_seconds, counts) in [
            ("completed", 1, true),
            ("dropped", 90, true),
            ("cancelled", 90, false),
            ("completed", 0, false),
        ] {
            let call = CallEnded {
                status: status.to_owned(),
                duration_seconds,
                ..CallEnded::default()
            };
            assert_eq!(has_talk_time(&call), counts, "{status} {duration_seconds}");
        }
    }
}
