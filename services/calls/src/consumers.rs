//! Events that the calls service consumes: new listeners, deleted users, and blocks.

use talktime_kit::Error;
use talktime_kit::db::PgConnection;
use talktime_kit::messaging::EventHandler;
use talktime_proto::events::v1::Event;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::profile::ROLE_LISTENER;

use crate::service::CallService;
use crate::store::{
    answer_rates, badges, barred_pairs, call_ratings, calls, seen_unanswered, unanswered_streaks,
};

/// Maintains the list of listeners, ends calls that may not go on, and deletes the data of deleted users.
pub(crate) struct CallsEventHandler {
    calls: CallService,
}

impl CallsEventHandler {
    pub(crate) fn new(calls: CallService) -> Self {
        Self { calls }
    }
}

impl EventHandler for CallsEventHandler {
    async fn handle(&self, tx: &mut PgConnection, event: Event) -> Result<(), Error> {
        let version = event.version;
        match event.kind {
            Some(Kind::UserRegistered(user)) if user.role == ROLE_LISTENER => {
                let is_active = true;
                badges::upsert_listener(tx, user.user_id, version, is_active).await?;
            }
            Some(Kind::RoleChanged(change)) if change.role == ROLE_LISTENER => {
                if !change.active {
                    self.calls.end_ring_of_listener(change.user_id).await?;
                }
                badges::upsert_listener(tx, change.user_id, version, change.active).await?;
            }
            // Calls change in transactions of their own before this transaction locks their rows; both may run
            // twice.
            Some(Kind::UserBlocked(block)) => {
                let parties = [block.user_id, block.blocked_id];
                self.calls.forbid_call_between(parties).await?;
            }
            Some(Kind::UserUnblocked(block)) => {
                let parties = [block.user_id, block.blocked_id];
                self.calls.permit_call_between(parties).await?;
                barred_pairs::unbar_pair(tx, parties).await?;
            }
            Some(Kind::UserDeleted(user)) => {
                self.calls.forbid_calls_of(user.user_id).await?;
                calls::clear_username(tx, user.user_id).await?;
                let is_active = false;
                badges::upsert_listener(tx, user.user_id, version, is_active).await?;
                badges::delete_of_user(tx, user.user_id).await?;
                call_ratings::delete_of_user(tx, user.user_id).await?;
                seen_unanswered::delete_of_user(tx, user.user_id).await?;
                answer_rates::delete_of_user(tx, user.user_id).await?;
                unanswered_streaks::reset(tx, &[user.user_id]).await?;
            }
            _ => {}
        }
        Ok(())
    }
}
