//! The feed of listeners.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use talktime_kit::Clock;
use talktime_kit::db::Database;

use crate::domain::ProfileError;
use crate::domain::feed::{FeedFilter, FeedQuery, Position};
use crate::remembered::Remembered;
use crate::store::feed_pages::{self, FeedCounts, FeedListener};
use crate::store::feed_stats::{self, Alike};
use crate::store::user_blocks;

/// The feed, read from profile's own database.
#[derive(Clone)]
pub struct Feed {
    db: Database,
    clock: Clock,
    require_verified: bool,
    counts: Arc<Remembered<FeedFilter, FeedCounts>>,
    stats: Arc<Remembered<(), Arc<FeedStats>>>,
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

/// All listeners in numbers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FeedStats {
    /// All of them.
    pub total: i64,
    /// Those online.
    pub online: i64,
    /// Those online and busy.
    pub busy: i64,
    /// Mean rating of those who have one, in hundredths.
    pub average_rating_hundredths: Option<i32>,
    /// The most frequent interests, first the most frequent.
    pub top_interests: Vec<(String, i64)>,
    /// How many of each sex.
    pub sexes: BTreeMap<String, i64>,
    /// How many prefer each language.
    pub languages: BTreeMap<String, i64>,
    /// When they were counted.
    pub counted_at: DateTime<Utc>,
}

impl Feed {
    /// The feed of a migrated database. Pages are of now; counts and numbers are counted anew when
    /// they are older than `counts_last`.
    pub fn new(db: Database, clock: Clock, counts_last: Duration) -> Self {
        Self {
            db,
            clock,
            require_verified: false,
            counts: Arc::new(Remembered::new(counts_last)),
            stats: Arc::new(Remembered::new(counts_last)),
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

    /// A page of the feed, as the viewer may see it. Blocks are read from their owner's table: they
    /// hold at once and both ways (contract, section 3).
    pub async fn page(&self, query: &FeedQuery) -> Result<FeedPage, ProfileError> {
        query.check()?;
        let mut query = query.clone();
        query.filter.verified_only = self.require_verified;
        let ((mut listeners, unseen), counts) =
            tokio::try_join!(self.list(&query), self.counts(&query.filter))?;
        let per_page = usize::try_from(query.per_page).expect("checked: at most a hundred");
        let has_more = listeners.len() > per_page;
        listeners.truncate(per_page);
        let last = listeners.last().filter(|_| has_more);
        let next = last.map(FeedListener::position);
        Ok(FeedPage {
            listeners,
            counts: counts.without(unseen),
            next,
        })
    }

    /// The page and one listener more, and how many the viewer does not see.
    async fn list(
        &self,
        query: &FeedQuery,
    ) -> Result<(Vec<FeedListener>, FeedCounts), ProfileError> {
        let mut connection = self.db.acquire().await?;
        let mut hidden = user_blocks::either_way(&mut connection, query.viewer_id).await?;
        hidden.push(query.viewer_id);
        let listeners = feed_pages::page(&mut connection, query, &hidden).await?;
        let unseen = feed_pages::counts_among(&mut connection, &query.filter, &hidden).await?;
        Ok((listeners, unseen))
    }

    async fn counts(&self, filter: &FeedFilter) -> Result<FeedCounts, ProfileError> {
        let count = async {
            let mut connection = self.db.acquire().await?;
            Ok(feed_pages::counts(&mut connection, filter).await?)
        };
        self.counts.get(filter, count).await
    }

    /// All listeners in numbers.
    pub async fn stats(&self) -> Result<Arc<FeedStats>, ProfileError> {
        let count = async {
            let counted_at = self.clock.now();
            let mut connection = self.db.acquire().await?;
            let alike = feed_stats::alike(&mut connection, self.require_verified).await?;
            let top = feed_stats::top_interests(&mut connection, self.require_verified).await?;
            Ok(Arc::new(FeedStats::of(alike, top, counted_at)))
        };
        self.stats.get(&(), count).await
    }
}

impl FeedStats {
    fn of(alike: Vec<Alike>, top_interests: Vec<(String, i64)>, counted_at: DateTime<Utc>) -> Self {
        let mut stats = Self {
            top_interests,
            counted_at,
            ..Self::default()
        };
        for row in alike {
            match (row.respect.as_str(), row.name) {
                ("sex", Some(name)) => {
                    stats.sexes.insert(name, row.listeners);
                }
                ("language", Some(name)) => {
                    stats.languages.insert(name, row.listeners);
                }
                _ => {
                    let mean = row.rating_sum.checked_div(row.rated);
                    stats.average_rating_hundredths =
                        mean.and_then(|mean| i32::try_from(mean).ok());
                    stats.total = row.listeners;
                    stats.online = row.online;
                    stats.busy = row.busy;
                }
            }
        }
        stats
    }
}
