//! Operations on favourites, each in one transaction.

use talktime_kit::Clock;
use talktime_kit::db::{DatabasePool, PgConnection, is_foreign_key_violation};
use talktime_kit::messaging::Relay;
use talktime_kit::paging::ListPageRequest;

use crate::domain::feed::FeedListenerCounts;
use crate::domain::{FavoriteListener, FavoriteListenerFilter, ProfileError};
use crate::events::{append_favorite_added, append_favorite_removed};
use crate::store::{user_blocks, user_favorites, user_roles, users};

/// Operations on favourites; cheap to clone.
#[derive(Clone)]
pub struct FavoriteService {
    db: DatabasePool,
    relay: Relay,
    clock: Clock,
}

/// A page of a user's favourites.
#[derive(Clone, Debug)]
pub struct FavoriteListenerPage {
    /// The newest favourite is first.
    pub favorites: Vec<FavoriteListener>,
    /// The favourites that the filter finds, on all pages.
    pub counts: FeedListenerCounts,
}

impl FavoriteService {
    /// Creates the operations on a migrated database. They wake `relay` when they have appended events.
    pub fn new(db: DatabasePool, relay: Relay, clock: Clock) -> Self {
        Self { db, relay, clock }
    }

    /// Makes a listener a favourite; adding twice is no error. While one of the two has blocked the other, the listener
    /// is not found.
    pub async fn add_favorite(&self, user_id: i64, listener_id: i64) -> Result<(), ProfileError> {
        if user_id == listener_id {
            return Err(ProfileError::FavoriteOfOneself);
        }
        let mut tx = self.db.begin().await?;
        users::lock_for_events(&mut tx, user_id).await?;
        let now = self.clock.now();
        require_visible(&mut tx, user_id, listener_id).await?;
        user_roles::require_listener(&mut tx, listener_id).await?;
        let is_added = user_favorites::insert(&mut tx, user_id, listener_id, now).await;
        if is_added.map_err(listener_not_found)? {
            let name = user_favorites::find_visible_name(&mut tx, user_id, listener_id).await?;
            append_favorite_added(&mut tx, user_id, listener_id, name, now).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Removes a favourite; removing twice is no error. A favourite who is no longer a listener can be removed too.
    pub async fn remove_favorite(
        &self,
        user_id: i64,
        listener_id: i64,
    ) -> Result<(), ProfileError> {
        let mut tx = self.db.begin().await?;
        users::lock_for_events(&mut tx, user_id).await?;
        let now = self.clock.now();
        if user_favorites::delete(&mut tx, user_id, listener_id).await? {
            let name = user_favorites::find_visible_name(&mut tx, user_id, listener_id).await?;
            append_favorite_removed(&mut tx, user_id, listener_id, name, now).await?;
        } else {
            user_roles::require_listener(&mut tx, listener_id).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Returns whether a listener is a favourite of the user. While one of the two has blocked the other, the listener is
    /// not found.
    pub async fn is_favorite(&self, user_id: i64, listener_id: i64) -> Result<bool, ProfileError> {
        let mut connection = self.db.acquire().await?;
        require_visible(&mut connection, user_id, listener_id).await?;
        if user_favorites::exists(&mut connection, user_id, listener_id).await? {
            return Ok(true);
        }
        user_roles::require_listener(&mut connection, listener_id).await?;
        Ok(false)
    }

    /// Lists a page of a user's favourites.
    pub async fn list_favorites(
        &self,
        user_id: i64,
        filter: FavoriteListenerFilter,
        page: ListPageRequest,
    ) -> Result<FavoriteListenerPage, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let counts = user_favorites::count(&mut connection, user_id, filter).await?;
        let favorites = user_favorites::list_page(&mut connection, user_id, filter, page).await?;
        Ok(FavoriteListenerPage { favorites, counts })
    }
}

/// Refuses a listener who has blocked the user, or whom the user has blocked.
async fn require_visible(
    connection: &mut PgConnection,
    user_id: i64,
    listener_id: i64,
) -> Result<(), ProfileError> {
    if user_blocks::is_blocked_between(connection, [user_id, listener_id]).await? {
        return Err(ProfileError::ListenerNotFound);
    }
    Ok(())
}

/// Maps a missing row of either user, which may have been deleted at this moment.
fn listener_not_found(error: sqlx::Error) -> ProfileError {
    if is_foreign_key_violation(&error) {
        ProfileError::ListenerNotFound
    } else {
        error.into()
    }
}
