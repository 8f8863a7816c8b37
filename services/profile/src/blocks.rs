//! Whom people keep away, each operation in one transaction. A block works at once and both ways,
//! because the feed and every start of a call read the table that is written here.

use sqlx::PgConnection;
use talktime_kit::Clock;
use talktime_kit::db::Database;
use talktime_kit::db::is_foreign_key_violation;
use talktime_kit::messaging::{Relay, outbox};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{UserBlocked, UserUnblocked};

use crate::domain::{Action, Page, ProfileError};
use crate::store::user_blocks::{self, Block, Blocked};
use crate::store::users;

/// Operations on blocks.
#[derive(Clone)]
pub struct Blocks {
    db: Database,
    relay: Relay,
    clock: Clock,
}

/// A page of whom somebody has blocked.
#[derive(Clone, Debug)]
pub struct BlockedPage {
    /// Who is on it, newest first.
    pub blocked: Vec<Blocked>,
    /// Those on all pages.
    pub total: i64,
}

impl Blocks {
    /// Operations on a migrated database; `relay` is woken when there are events.
    pub fn new(db: Database, relay: Relay, clock: Clock) -> Self {
        Self { db, relay, clock }
    }

    /// Whom somebody has blocked, and who has blocked them.
    pub async fn either_way(&self, user_id: i64) -> Result<Vec<i64>, ProfileError> {
        let mut connection = self.db.acquire().await?;
        Ok(user_blocks::either_way(&mut connection, user_id).await?)
    }

    /// Blocks or reports somebody; blocking again changes how and why, since when it does not.
    pub async fn add(&self, block: &Block) -> Result<(), ProfileError> {
        let (user_id, blocked_id) = (block.blocker_id, block.blocked_id);
        if user_id == blocked_id {
            return Err(ProfileError::BlockOfOneself);
        }
        let mut tx = self.db.begin().await?;
        users::take_turns(&mut tx, user_id).await?;
        let now = self.clock.now();
        if user_blocks::upsert(&mut tx, block, now)
            .await
            .map_err(gone)?
        {
            let blocked = Kind::UserBlocked(UserBlocked {
                user_id,
                blocked_id,
                action_type: block.action.name().to_owned(),
            });
            outbox::append(&mut tx, user_id, now.timestamp_micros(), now, blocked).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Takes a block back; again is fine.
    pub async fn remove(&self, user_id: i64, blocked_id: i64) -> Result<(), ProfileError> {
        let mut tx = self.db.begin().await?;
        users::take_turns(&mut tx, user_id).await?;
        let now = self.clock.now();
        if user_blocks::delete(&mut tx, user_id, blocked_id).await? {
            let unblocked = Kind::UserUnblocked(UserUnblocked {
                user_id,
                blocked_id,
            });
            outbox::append(&mut tx, user_id, now.timestamp_micros(), now, unblocked).await?;
        } else {
            check_exists(&mut tx, blocked_id).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// How the one keeps the other away: a name of [`crate::domain::Action`]; `None` when they do
    /// not. Whether they are kept away themselves is not told.
    pub async fn check(
        &self,
        user_id: i64,
        blocked_id: i64,
    ) -> Result<Option<String>, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let action = user_blocks::action(&mut connection, user_id, blocked_id).await?;
        if action.is_none() {
            check_exists(&mut connection, blocked_id).await?;
        }
        Ok(action)
    }

    /// A page of the people whom somebody has blocked; in one way only, where `action` is given.
    pub async fn page(
        &self,
        user_id: i64,
        action: Option<Action>,
        page: Page,
    ) -> Result<BlockedPage, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let total = user_blocks::count(&mut connection, user_id, action).await?;
        let blocked = user_blocks::page(&mut connection, user_id, action, page).await?;
        Ok(BlockedPage { blocked, total })
    }
}

async fn check_exists(connection: &mut PgConnection, user_id: i64) -> Result<(), ProfileError> {
    if users::exists(connection, user_id).await? {
        Ok(())
    } else {
        Err(ProfileError::UserNotFound)
    }
}

/// There is no such user, or not any more.
fn gone(error: sqlx::Error) -> ProfileError {
    if is_foreign_key_violation(&error) {
        ProfileError::UserNotFound
    } else {
        error.into()
    }
}
