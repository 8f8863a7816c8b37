//! Operations on blocks, each in one transaction. A block takes effect at once and in both directions,
//! because the feed and every start of a call read the table that is written here.

use talktime_kit::Clock;
use talktime_kit::db::{DatabasePool, is_foreign_key_violation};
use talktime_kit::messaging::Relay;
use talktime_kit::paging::ListPageRequest;

use crate::domain::{BlockAction, BlockedUser, ProfileError, UserBlock};
use crate::events::{append_user_blocked, append_user_unblocked};
use crate::store::{user_blocks, users};

/// Operations on blocks; cheap to clone.
#[derive(Clone)]
pub struct BlockService {
    db: DatabasePool,
    relay: Relay,
    clock: Clock,
}

/// A page of the users whom a user has blocked.
#[derive(Clone, Debug)]
pub struct BlockedUserPage {
    /// The newest block is first.
    pub blocked: Vec<BlockedUser>,
    /// The number on all pages.
    pub total: i64,
}

impl BlockService {
    /// Creates the operations on a migrated database. They wake `relay` when they have appended events.
    pub fn new(db: DatabasePool, relay: Relay, clock: Clock) -> Self {
        Self { db, relay, clock }
    }

    /// Lists the users whom a user has blocked, and those who have blocked that user.
    pub async fn list_hidden_users(&self, user_id: i64) -> Result<Vec<i64>, ProfileError> {
        let mut connection = self.db.acquire().await?;
        Ok(user_blocks::list_hidden_users(&mut connection, user_id).await?)
    }

    /// Blocks or reports a user. Blocking again changes the action and the reason, but not the time.
    pub async fn add_block(&self, block: &UserBlock) -> Result<(), ProfileError> {
        if block.blocker_id == block.blocked_id {
            return Err(ProfileError::BlockOfOneself);
        }
        let mut tx = self.db.begin().await?;
        users::lock_for_events(&mut tx, block.blocker_id).await?;
        let now = self.clock.now();
        let is_changed = user_blocks::upsert(&mut tx, block, now).await;
        if is_changed.map_err(user_not_found)? {
            append_user_blocked(&mut tx, block, now).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Removes a block; removing it twice is no error.
    pub async fn remove_block(&self, user_id: i64, blocked_id: i64) -> Result<(), ProfileError> {
        let mut tx = self.db.begin().await?;
        users::lock_for_events(&mut tx, user_id).await?;
        let now = self.clock.now();
        if user_blocks::delete(&mut tx, user_id, blocked_id).await? {
            append_user_unblocked(&mut tx, user_id, blocked_id, now).await?;
        } else {
            users::require_exists(&mut tx, blocked_id).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Finds the name of the [`BlockAction`] that a user has taken against another; `None` if there is none.
    /// Blocks in the other direction are not disclosed.
    pub async fn find_action(
        &self,
        user_id: i64,
        blocked_id: i64,
    ) -> Result<Option<String>, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let action = user_blocks::find_action(&mut connection, user_id, blocked_id).await?;
        if action.is_none() {
            users::require_exists(&mut connection, blocked_id).await?;
        }
        Ok(action)
    }

    /// Lists a page of the users whom a user has blocked, limited to `action` if it is given.
    pub async fn list_blocked(
        &self,
        user_id: i64,
        action: Option<BlockAction>,
        page: ListPageRequest,
    ) -> Result<BlockedUserPage, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let total = user_blocks::count(&mut connection, user_id, action).await?;
        let blocked = user_blocks::list_page(&mut connection, user_id, action, page).await?;
        Ok(BlockedUserPage { blocked, total })
    }
}

/// Maps a missing row of either user, which may have been deleted at this moment.
fn user_not_found(error: sqlx::Error) -> ProfileError {
    if is_foreign_key_violation(&error) {
        ProfileError::UserNotFound
    } else {
        error.into()
    }
}
