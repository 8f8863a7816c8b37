//! What profile hears: for the feed's read model, and what callers say of listeners.

use std::collections::BTreeMap;

use sqlx::PgConnection;
use talktime_kit::Error;
use talktime_kit::messaging::{Handler, Received};
use talktime_proto::datetime;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{CallEnded, Event, StatusChanged};
use tracing::Span;

use crate::store::feed_listeners::{self, ListenerStatus, Talked};
use crate::store::users;

/// Keeps the feed's read model at what presence, calls and verification tell.
pub struct FeedEvents;

impl Handler for FeedEvents {
    // Only events write to the feed's read model.
    const MESSAGES_PER_TRANSACTION_MAX: usize = 64;

    fn wants(&self, event: &Event) -> bool {
        match &event.kind {
            Some(Kind::CallEnded(call)) => was_talked(call),
            // Whoever becomes a listener is told of anew.
            Some(Kind::StatusChanged(status)) => status.is_listener,
            Some(Kind::VerificationReviewed(_) | Kind::VerificationRevoked(_)) => true,
            _ => false,
        }
    }

    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let span = Span::current();
        self.handle_all(tx, vec![Received { event, span }]).await
    }

    /// Of each listener only the newest status, and the sum of their calls.
    async fn handle_all(&self, tx: &mut PgConnection, events: Vec<Received>) -> Result<(), Error> {
        let mut statuses: BTreeMap<i64, ListenerStatus> = BTreeMap::new();
        let mut talked: BTreeMap<i64, Talked> = BTreeMap::new();
        for Received { event, .. } in events {
            match event.kind {
                Some(Kind::StatusChanged(status)) => {
                    let status = listener_status(event.version, &status);
                    let newest = statuses.entry(status.user_id).or_insert(status);
                    if newest.version < status.version {
                        *newest = status;
                    }
                }
                Some(Kind::CallEnded(call)) if was_talked(&call) => {
                    let talked = talked.entry(call.listener_id).or_default();
                    talked.calls += 1;
                    talked.secs += call.duration_seconds;
                }
                Some(Kind::VerificationReviewed(review)) => {
                    let (user_id, is_verified) = (review.user_id, review.is_verified);
                    feed_listeners::set_verified(tx, user_id, event.version, is_verified).await?;
                }
                Some(Kind::VerificationRevoked(revoked)) => {
                    feed_listeners::set_verified(tx, revoked.user_id, event.version, false).await?;
                }
                _ => {}
            }
        }
        if !statuses.is_empty() {
            let statuses: Vec<ListenerStatus> = statuses.into_values().collect();
            feed_listeners::set_statuses(tx, &statuses).await?;
        }
        if !talked.is_empty() {
            feed_listeners::add_calls(tx, &talked).await?;
        }
        Ok(())
    }
}

/// Keeps the rating of each listener at the mean of what callers say. Apart from the feed's events,
/// since it writes to a table that requests write to as well.
pub struct RatingEvents;

impl Handler for RatingEvents {
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        if let Some(Kind::CallRated(rated)) = event.kind {
            let (stars, ratings) = (rated.stars_total, rated.ratings_total);
            users::set_rating(tx, rated.listener_id, stars, ratings).await?;
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
        wait_time: status.wait_time,
        last_seen: datetime(status.last_seen.as_ref()),
    }
}

/// A call that never came about, or was taken back, says nothing of a listener.
fn was_talked(call: &CallEnded) -> bool {
    call.duration_seconds >= 1 && matches!(call.status.as_str(), "completed" | "dropped")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_were_talked_count() {
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
            assert_eq!(was_talked(&call), counts, "{status} {duration_seconds}");
        }
    }
}
