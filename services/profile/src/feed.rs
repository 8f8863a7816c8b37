//! The feed of listeners.

use sqlx::PgPool;

use crate::domain::ProfileError;
use crate::domain::feed::{FeedQuery, Position};
use crate::store::feed_pages::{self, FeedCounts, FeedListener};

/// The feed, read from profile's own database.
#[derive(Clone)]
pub struct Feed {
    db: PgPool,
    require_verified: bool,
}

/// A page of the feed.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// Who is on it, in order.
    pub listeners: Vec<FeedListener>,
    /// Everybody whom the filter finds.
    pub counts: FeedCounts,
    /// Where the next page starts; `None` after the last.
    pub next: Option<Position>,
}

impl Feed {
    /// The feed of a migrated database.
    pub fn new(db: PgPool) -> Self {
        Self {
            db,
            require_verified: false,
        }
    }

    /// Shows only verified listeners, where `require` says so.
    #[must_use]
    pub fn require_verified(self, require: bool) -> Self {
        Self {
            require_verified: require,
            ..self
        }
    }

    /// A page of the feed, as the viewer may see it.
    pub async fn page(&self, query: &FeedQuery) -> Result<FeedPage, ProfileError> {
        query.check()?;
        let mut connection = self.db.acquire().await?;
        let mut query = query.clone();
        query.filter.verified_only = self.require_verified;
        let counts = feed_pages::counts(&mut connection, &query).await?;
        let mut listeners = feed_pages::page(&mut connection, &query).await?;
        let per_page = usize::try_from(query.per_page).expect("checked: at most a hundred");
        let has_more = listeners.len() > per_page;
        listeners.truncate(per_page);
        let last = listeners.last().filter(|_| has_more);
        let next = last.map(FeedListener::position);
        Ok(FeedPage {
            listeners,
            counts,
            next,
        })
    }
}
