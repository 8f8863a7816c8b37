//! The feed of listeners.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use talktime_kit::Clock;
use talktime_kit::db::DatabasePool;

use crate::domain::ProfileError;
use crate::domain::feed::{
    FeedFilter, FeedListener, FeedListenerCounts, FeedPagePosition, FeedPageQuery,
    ListenerGroupCount,
};
use crate::feed_replica::FeedIndexReplica;
use crate::metrics::{self, FeedPageSource};
use crate::store::{feed_pages, feed_stats, user_blocks, user_favorites};
use crate::ttl_cache::TtlCache;

/// The feed, read from profile's own database; cheap to clone.
#[derive(Clone)]
pub struct FeedService {
    db: DatabasePool,
    clock: Clock,
    require_verified: bool,
    index: Option<FeedIndexReplica>,
    counts: Arc<TtlCache<FeedFilter, FeedListenerCounts>>,
    stats: Arc<TtlCache<(), Arc<FeedStatistics>>>,
}

/// A page of the feed.
#[derive(Clone, Debug)]
pub struct FeedPage {
    pub listeners: Vec<FeedListener>,
    /// The listeners that the filter finds, on all pages.
    pub counts: FeedListenerCounts,
    /// The start of the next page; `None` after the last one.
    pub next: Option<FeedPagePosition>,
}

/// The page of one listener as a viewer sees it.
#[derive(Clone, Debug)]
pub struct ListenerProfilePage {
    pub listener: FeedListener,
    /// Whether the listener is a favourite of the viewer.
    pub is_favorited: bool,
}

/// Statistics of all listeners.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FeedStatistics {
    pub total: i64,
    pub online: i64,
    /// Listeners who are online, and busy or taking no calls.
    pub busy: i64,
    /// Listeners who are online, not busy and taking calls.
    pub available: i64,
    /// The mean rating of those who have one, in hundredths.
    pub average_rating_hundredths: Option<i32>,
    /// The most frequent interest is first.
    pub top_interests: Vec<(String, i64)>,
    pub sexes: BTreeMap<String, i64>,
    pub languages: BTreeMap<String, i64>,
    pub counted_at: DateTime<Utc>,
}

impl FeedService {
    /// The feed of a migrated database. Pages are always current; counts and statistics are reused until they
    /// are older than `counts_ttl`.
    pub fn new(db: DatabasePool, clock: Clock, counts_ttl: Duration) -> Self {
        Self {
            db,
            clock,
            require_verified: false,
            index: None,
            counts: Arc::new(TtlCache::new(counts_ttl)),
            stats: Arc::new(TtlCache::new(counts_ttl)),
        }
    }

    /// Shows only verified listeners, if `require` is set.
    #[must_use]
    pub fn require_verified(self, require: bool) -> Self {
        Self {
            require_verified: require,
            ..self
        }
    }

    /// Reads pages from the index once it is built.
    #[must_use]
    pub fn read_index(self, index: FeedIndexReplica) -> Self {
        Self {
            index: Some(index),
            ..self
        }
    }

    /// Loads a page of the feed as the viewer may see it. Blocks are read from their own table, so that they
    /// take effect at once and in both directions (contract, section 3).
    pub async fn load_page(&self, query: &FeedPageQuery) -> Result<FeedPage, ProfileError> {
        query.check()?;
        let mut query = query.clone();
        query.filter.verified_only = self.require_verified;
        if let Some(index) = &self.index
            && let Some(found) = index.find_page(&query).await?
        {
            metrics::count_page(FeedPageSource::Index);
            return Ok(FeedPage::new(&query, found.listeners, found.counts));
        }
        metrics::count_page(FeedPageSource::Database);
        let ((listeners, hidden), counts) = tokio::try_join!(
            self.list_listeners(&query),
            self.count_listeners(&query.filter)
        )?;
        Ok(FeedPage::new(&query, listeners, counts.without(hidden)))
    }

    /// Lists the page and one listener more, and counts the listeners who are hidden from the viewer, which the
    /// cached counts include.
    async fn list_listeners(
        &self,
        query: &FeedPageQuery,
    ) -> Result<(Vec<FeedListener>, FeedListenerCounts), ProfileError> {
        let mut connection = self.db.acquire().await?;
        let mut hidden = user_blocks::list_hidden_users(&mut connection, query.viewer_id).await?;
        hidden.push(query.viewer_id);
        let listeners = feed_pages::list_page(&mut connection, query, &hidden).await?;
        let counts = feed_pages::count_among(&mut connection, &query.filter, &hidden).await?;
        Ok((listeners, counts))
    }

    async fn count_listeners(
        &self,
        filter: &FeedFilter,
    ) -> Result<FeedListenerCounts, ProfileError> {
        let count = async {
            let mut connection = self.db.acquire().await?;
            Ok(feed_pages::count_listeners(&mut connection, filter).await?)
        };
        self.counts.get_or_load(filter, count).await
    }

    /// Loads the page of one listener. A user who is no listener, and one from whom a block separates the viewer,
    /// are not found.
    pub async fn load_listener(
        &self,
        viewer_id: i64,
        listener_id: i64,
    ) -> Result<ListenerProfilePage, ProfileError> {
        let mut connection = self.db.acquire().await?;
        let found = feed_pages::find_visible(&mut connection, viewer_id, listener_id).await?;
        Ok(ListenerProfilePage {
            listener: found.ok_or(ProfileError::ListenerNotFound)?,
            is_favorited: user_favorites::exists(&mut connection, viewer_id, listener_id).await?,
        })
    }

    pub async fn load_stats(&self) -> Result<Arc<FeedStatistics>, ProfileError> {
        let count = async {
            let counted_at = self.clock.now();
            let mut connection = self.db.acquire().await?;
            let verified_only = self.require_verified;
            let groups = feed_stats::count_groups(&mut connection, verified_only).await?;
            let top = feed_stats::list_top_interests(&mut connection, verified_only).await?;
            Ok(Arc::new(FeedStatistics::from_groups(
                groups, top, counted_at,
            )))
        };
        self.stats.get_or_load(&(), count).await
    }
}

impl FeedPage {
    /// The page of a query. `listeners` has one listener more if there is a next page.
    fn new(
        query: &FeedPageQuery,
        mut listeners: Vec<FeedListener>,
        counts: FeedListenerCounts,
    ) -> Self {
        let per_page = usize::try_from(query.per_page).expect("checked: at most a hundred");
        let has_more = listeners.len() > per_page;
        listeners.truncate(per_page);
        let last = listeners.last().filter(|_| has_more);
        Self {
            next: last.map(FeedListener::position),
            listeners,
            counts,
        }
    }
}

impl FeedStatistics {
    fn from_groups(
        groups: Vec<ListenerGroupCount>,
        top_interests: Vec<(String, i64)>,
        counted_at: DateTime<Utc>,
    ) -> Self {
        let mut stats = Self {
            top_interests,
            counted_at,
            ..Self::default()
        };
        for group in groups {
            stats.add_group(group);
        }
        stats
    }

    fn add_group(&mut self, group: ListenerGroupCount) {
        match (group.dimension.as_str(), group.name) {
            ("sex", Some(name)) => {
                self.sexes.insert(name, group.listeners);
            }
            ("language", Some(name)) => {
                self.languages.insert(name, group.listeners);
            }
            _ => {
                let mean = group.rating_sum.checked_div(group.rated);
                self.average_rating_hundredths = mean.and_then(|mean| i32::try_from(mean).ok());
                self.total = group.listeners;
                self.online = group.online;
                self.busy = group.busy;
                self.available = group.available;
            }
        }
    }
}
