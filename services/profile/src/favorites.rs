//! Whom people like to talk to, each operation in one transaction.

use sqlx::PgConnection;
use talktime_kit::Clock;
use talktime_kit::db::Database;
use talktime_kit::db::is_foreign_key_violation;
use talktime_kit::messaging::{Relay, outbox};
use talktime_proto::events::v1::event::Kind;
use talktime_proto::events::v1::{FavoriteAdded, FavoriteRemoved};

use crate::domain::{Page, ProfileError, Role};
use crate::store::feed_pages::FeedCounts;
use crate::store::user_favorites::{self, Favorite, FavoritesFilter};
use crate::store::{user_roles, users};

/// Operations on favourites.
#[derive(Clone)]
pub struct Favorites {
    db: Database,
    relay: Relay,
    clock: Clock,
}

/// A page of somebody's favourites.
#[derive(Clone, Debug)]
pub struct FavoritesPage {
    /// Who is on it, newest first.
    pub favorites: Vec<Favorite>,
    /// Those whom the filter finds, on all pages.
    pub counts: FeedCounts,
}

impl Favorites {
    /// Operations on a migrated database; `relay` is woken when there are events.
    pub fn new(db: Database, relay: Relay, clock: Clock) -> Self {
        Self { db, relay, clock }
    }

    /// Makes a listener a favourite; adding twice is fine.
    pub async fn add(&self, user_id: i64, listener_id: i64) -> Result<(), ProfileError> {
        if user_id == listener_id {
            return Err(ProfileError::FavoriteOfOneself);
        }
        let mut tx = self.db.begin().await?;
        users::take_turns(&mut tx, user_id).await?;
        let now = self.clock.now();
        check_is_listener(&mut tx, listener_id).await?;
        let inserted = user_favorites::insert(&mut tx, user_id, listener_id, now).await;
        if inserted.map_err(gone)? {
            let username = user_favorites::name_for_listener(&mut tx, user_id, listener_id).await?;
            let added = Kind::FavoriteAdded(FavoriteAdded {
                user_id,
                listener_id,
                username,
            });
            outbox::append(&mut tx, user_id, now.timestamp_micros(), now, added).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Drops a favourite; removing twice is fine. Who is a listener no more can be dropped too.
    pub async fn remove(&self, user_id: i64, listener_id: i64) -> Result<(), ProfileError> {
        let mut tx = self.db.begin().await?;
        users::take_turns(&mut tx, user_id).await?;
        let now = self.clock.now();
        if user_favorites::delete(&mut tx, user_id, listener_id).await? {
            let username = user_favorites::name_for_listener(&mut tx, user_id, listener_id).await?;
            let removed = Kind::FavoriteRemoved(FavoriteRemoved {
                user_id,
                listener_id,
                username,
            });
            outbox::append(&mut tx, user_id, now.timestamp_micros(), now, removed).await?;
        } else {
            check_is_listener(&mut tx, listener_id).await?;
        }
        tx.commit().await?;
        self.relay.wake();
        Ok(())
    }

    /// Whether a listener is a favourite.
    pub async fn check(&self, user_id: i64, listener_id: i64) -> Result<bool, ProfileError> {
        let mut connection = self.db.acquire().await?;
        if user_favorites::exists(&mut connection, user_id, listener_id).await? {
            return Ok(true);
        }
        check_is_listener(&mut connection, listener_id).await?;
        Ok(false)
    }

    /// A page of somebody's favourites, as far as the filter finds them.
    pub async fn page(
        &self,
        user_id: i64,
        filter: FavoritesFilter,
        page: Page,
    ) -> Result<FavoritesPage, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let counts = user_favorites::counts(&mut connection, user_id, filter).await?;
        let favorites = user_favorites::page(&mut connection, user_id, filter, page).await?;
        Ok(FavoritesPage { favorites, counts })
    }
}

async fn check_is_listener(
    connection: &mut PgConnection,
    listener_id: i64,
) -> Result<(), ProfileError> {
    if user_roles::has(connection, listener_id, Role::Listener).await? {
        Ok(())
    } else {
        Err(ProfileError::ListenerNotFound)
    }
}

/// One of the two was deleted at this moment.
fn gone(error: sqlx::Error) -> ProfileError {
    if is_foreign_key_violation(&error) {
        ProfileError::ListenerNotFound
    } else {
        error.into()
    }
}
