//! The index of the feed in the memory of this replica.
//!
//! Before a page is read from it, the index takes in what has changed in the database since the last time, so that pages
//! are as current as those of the statements of [`crate::store::feed_pages`], on every replica. Requests that arrive
//! together share this step, which reads their blocks as well.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::TryStreamExt;
use talktime_kit::Error;
use talktime_kit::batch::{BatchHandler, BatchItem, BatchLimits, Batcher, QueueFullPolicy};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::deadlines::{PeerKind, await_answer};
use tokio::sync::Mutex;
use tokio::task::coop::consume_budget;

use crate::domain::ProfileError;
use crate::domain::feed::FeedPageQuery;
use crate::domain::feed_index::{FeedIndex, FeedIndexPage, FeedIndexQuery, IndexedListener};
use crate::interest_keys::InterestKeyCache;
use crate::metrics;
use crate::store::feed_changes::{self, FeedSnapshot};

/// The most rows that one statement reads to build the index. They are taken in while they arrive, and the deadline of the
/// statement runs meanwhile, so they are few enough for a replica that is busy with requests.
const BUILT_ROWS_MAX: usize = 2_000;
/// The most changed rows that one statement reads.
const CHANGED_ROWS_MAX: usize = 1_000;
/// Rows that are compared at once. Requests wait meanwhile, for less than a millisecond.
const COMPARED_ROWS_MAX: usize = 200;
/// Comparisons of one turn of the maintenance.
const COMPARISONS_A_TURN: usize = 5;
/// An index that lacks more changes is built anew.
const CHANGES_MAX: usize = 20_000;
/// An index that has not taken in changes for so long is built anew, since removals are deleted after an hour.
const REFRESH_AGE_MAX: Duration = Duration::from_mins(30);
/// Longest wait for the answer to a question for changes, for which all requests of the replica wait. A connection that
/// fails to answer is discarded, and the requests have time to ask again on another one.
const CHANGES_WAIT_MAX: Duration = Duration::from_secs(1);
/// One batch at a time, since changes are taken in one after another. The queue has room for all requests that the
/// server admits.
const REFRESH_LIMITS: BatchLimits = BatchLimits {
    items_max: 256,
    concurrent_max: 1,
    overlap_items_max: usize::MAX,
    queued_max: 2_048,
    linger: Duration::ZERO,
    when_full: QueueFullPolicy::Reject,
};

/// The index of this replica; cheap to clone.
#[derive(Clone)]
pub struct FeedIndexReplica {
    state: Arc<FeedIndexState>,
    refreshes: Batcher<RefreshBatchHandler>,
    interest_keys: Arc<InterestKeyCache>,
}

/// The index and what it lacks.
struct FeedIndexState {
    db: DatabasePool,
    /// `None` while it is not built. It is taken out while it changes, so that a panic leaves none behind.
    index: RwLock<Option<FeedIndex>>,
    /// Locked while the index takes in changes.
    position: Mutex<Option<FeedIndexPosition>>,
}

/// How far the index has followed the database.
struct FeedIndexPosition {
    /// The index contains every change that this snapshot sees.
    snapshot: FeedSnapshot,
    /// A moment before the snapshot.
    read_at: Instant,
    /// The last listener who was compared with the database.
    compared_up_to: i64,
}

/// Changes that the index has not taken in.
struct LoadedFeedChanges {
    until: FeedSnapshot,
    /// Listeners who have changed; those without a row have left.
    user_ids: Vec<i64>,
    rows: Vec<IndexedListener>,
    hidden: HiddenUsers,
}

/// The result of a refresh of the index.
struct FeedIndexRefresh {
    /// Number of listeners who had changed.
    changes: usize,
    hidden: HiddenUsers,
}

/// The users whom blocks hide from each viewer who has any.
type HiddenUsers = HashMap<i64, Vec<i64>>;

impl FeedIndexReplica {
    /// Returns an index that is not built, and the worker that brings it up to date for requests, which the caller
    /// spawns. The worker ends when the last clone is dropped.
    pub fn new(db: DatabasePool) -> (Self, impl Future<Output = ()> + Send) {
        let state = Arc::new(FeedIndexState {
            db: db.clone(),
            index: RwLock::default(),
            position: Mutex::default(),
        });
        let handler = RefreshBatchHandler {
            state: Arc::clone(&state),
        };
        let (refreshes, worker) = Batcher::new(REFRESH_LIMITS, handler);
        let replica = Self {
            state,
            refreshes,
            interest_keys: Arc::new(InterestKeyCache::new(db)),
        };
        (replica, worker)
    }

    /// Builds the index if there is none, and otherwise takes in changes and compares some listeners with the database.
    /// Returns whether there were changes, or the index has to be built anew.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn maintain(&self) -> Result<bool, Error> {
        let state = &self.state;
        if !state.is_built() {
            state.build().await?;
        }
        let mut connection = state.db.acquire().await?;
        let Some(refresh) = state.refresh(&mut connection, &[]).await? else {
            return Ok(true);
        };
        for _ in 0..COMPARISONS_A_TURN {
            if !state.compare_some(&mut connection).await? {
                break;
            }
        }
        Ok(refresh.changes > 0)
    }

    /// Finds a page, as current as the database. Returns `None` if only the database can answer: the index is not built,
    /// or a search finds too many names.
    pub async fn find_page(
        &self,
        query: &FeedPageQuery,
    ) -> Result<Option<FeedIndexPage>, ProfileError> {
        if !self.state.is_built() {
            return Ok(None);
        }
        let interest_keys = self.interest_keys.fold(&query.filter.interests).await?;
        let Some(hidden) = self.refreshes.submit(query.viewer_id).await? else {
            return Ok(None);
        };
        let query = FeedIndexQuery {
            page: query,
            interest_keys: &interest_keys,
            hidden: &hidden,
        };
        let found = self.state.read(|index| index.find_page(&query));
        Ok(found.flatten())
    }
}

impl FeedIndexState {
    fn is_built(&self) -> bool {
        self.read(|_| ()).is_some()
    }

    /// Reads the index, if it is built.
    fn read<T>(&self, read: impl FnOnce(&FeedIndex) -> T) -> Option<T> {
        let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
        index.as_ref().map(read)
    }

    /// Changes the index, if it is built.
    fn update<T: Default>(&self, change: impl FnOnce(&mut FeedIndex) -> T) -> T {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let Some(mut taken) = index.take() else {
            return T::default();
        };
        let result = change(&mut taken);
        *index = Some(taken);
        result
    }

    /// Reads the whole feed. Postgres prepares the next rows while the index takes in the last ones.
    async fn build(&self) -> Result<(), Error> {
        let read_at = Instant::now();
        let mut connection = self.db.acquire().await?;
        let snapshot = feed_changes::read_snapshot(&mut connection).await?;
        let mut index = FeedIndex::default();
        let mut after = Some(i64::MIN);
        while let Some(user_id) = after {
            after = insert_rows_after(&mut connection, user_id, &mut index).await?;
        }
        let listeners = index.len();
        self.publish(index, snapshot, read_at).await;
        metrics::record_index_build(read_at.elapsed());
        tracing::info!(listeners, duration = ?read_at.elapsed(), "built the index of the feed");
        Ok(())
    }

    async fn publish(&self, built: FeedIndex, snapshot: FeedSnapshot, read_at: Instant) {
        let mut position = self.position.lock().await;
        *position = Some(FeedIndexPosition {
            snapshot,
            read_at,
            compared_up_to: i64::MIN,
        });
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        *index = Some(built);
    }

    /// Takes in what has changed, and reads whom blocks hide from these viewers. Returns `None` if the index cannot be
    /// brought up to date; it is dropped then.
    async fn refresh(
        &self,
        connection: &mut PgConnection,
        viewer_ids: &[i64],
    ) -> Result<Option<FeedIndexRefresh>, Error> {
        let mut position = self.position.lock().await;
        let Some(current) = position.as_mut() else {
            return Ok(None);
        };
        let read_at = Instant::now();
        let changes = if current.read_at.elapsed() < REFRESH_AGE_MAX {
            load_changes(connection, &current.snapshot, viewer_ids).await?
        } else {
            None
        };
        let Some(changes) = changes else {
            *position = None;
            self.discard();
            return Ok(None);
        };
        let listeners = self.update(|index| {
            index.replace(&changes.user_ids, &changes.rows);
            index.len()
        });
        current.snapshot = changes.until;
        current.read_at = read_at;
        metrics::record_index_refresh(listeners, changes.user_ids.len());
        Ok(Some(FeedIndexRefresh {
            changes: changes.user_ids.len(),
            hidden: changes.hidden,
        }))
    }

    fn discard(&self) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        let discarded = index.take();
        drop(index);
        drop(discarded);
        metrics::record_index_discard();
        tracing::warn!("failed to bring the index of the feed up to date; it is built again");
    }

    /// Compares some listeners with the database, so that an error in the index does not last. Refreshes go on while the
    /// rows are read. Returns whether there are more listeners after these.
    async fn compare_some(&self, connection: &mut PgConnection) -> Result<bool, Error> {
        let Some((since, after)) = self.start_comparison().await else {
            return Ok(false);
        };
        let rows = feed_changes::read_after(connection, after, COMPARED_ROWS_MAX);
        let rows: Vec<IndexedListener> = rows.try_collect().await?;
        let last = rows.last().map(|row| row.listener.user_id);
        let last = last.filter(|_| rows.len() == COMPARED_ROWS_MAX);
        let mut position = self.position.lock().await;
        // A change since the start is no error.
        let Some(changes) = list_changes(connection, &since, &[]).await? else {
            return Ok(false);
        };
        let Some(current) = position.as_mut() else {
            return Ok(false);
        };
        let changed: HashSet<i64> = changes.user_ids.into_iter().collect();
        let wrong = self.read(|index| index.find_differences(after, last, &rows, &changed));
        let wrong = wrong.unwrap_or_default();
        if !wrong.is_empty() {
            self.update(|index| index.replace(&wrong, &rows));
        }
        current.compared_up_to = last.unwrap_or(i64::MIN);
        metrics::record_index_repairs(wrong.len());
        Ok(last.is_some())
    }

    /// Returns a snapshot that the index contains, and the listener after whom the comparison goes on.
    async fn start_comparison(&self) -> Option<(FeedSnapshot, i64)> {
        let position = self.position.lock().await;
        let current = position.as_ref()?;
        Some((current.snapshot.clone(), current.compared_up_to))
    }
}

/// Reads rows after a listener into the index. Returns the last listener, if there may be more.
async fn insert_rows_after(
    connection: &mut PgConnection,
    user_id: i64,
    index: &mut FeedIndex,
) -> Result<Option<i64>, Error> {
    let mut rows = feed_changes::read_after(connection, user_id, BUILT_ROWS_MAX);
    let (mut read, mut last) = (0, user_id);
    while let Some(row) = rows.try_next().await? {
        index.upsert(&row);
        (read, last) = (read + 1, row.listener.user_id);
        // Rows arrive in great numbers at once, and other requests need this thread.
        consume_budget().await;
    }
    Ok((read == BUILT_ROWS_MAX).then_some(last))
}

/// Waits for an answer for no longer than [`CHANGES_WAIT_MAX`].
async fn await_in_time<T>(answer: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    let answered = await_answer(PeerKind::Postgres, CHANGES_WAIT_MAX, answer).await;
    answered.map_err(|missed| sqlx::Error::Io(missed.into()))?
}

/// Lists the changes since a snapshot, and whom blocks hide from viewers; `None` if the changes are too many, or the server
/// has another history.
async fn list_changes(
    connection: &mut PgConnection,
    since: &FeedSnapshot,
    viewer_ids: &[i64],
) -> Result<Option<feed_changes::FeedChanges>, Error> {
    let asked = feed_changes::list_changes(connection, since, CHANGES_MAX + 1, viewer_ids);
    let changes = await_in_time(asked).await?;
    let is_usable = changes.is_continuation && changes.user_ids.len() <= CHANGES_MAX;
    Ok(is_usable.then_some(changes))
}

/// Reads the rows that have changed since a snapshot. They are read after the snapshot up to which the changes are known,
/// so they may be newer, and then the next refresh reads them once more.
async fn load_changes(
    connection: &mut PgConnection,
    since: &FeedSnapshot,
    viewer_ids: &[i64],
) -> Result<Option<LoadedFeedChanges>, Error> {
    let Some(changes) = list_changes(connection, since, viewer_ids).await? else {
        return Ok(None);
    };
    let hidden = changes.group_hidden_users();
    let mut user_ids = changes.user_ids;
    user_ids.sort_unstable();
    user_ids.dedup();
    let mut rows = Vec::new();
    for some in user_ids.chunks(CHANGED_ROWS_MAX) {
        rows.extend(feed_changes::list_these(connection, some).await?);
    }
    Ok(Some(LoadedFeedChanges {
        until: changes.until,
        user_ids,
        rows,
        hidden,
    }))
}

/// Brings the index up to date for the viewers of a batch, and reads whom they must not see.
struct RefreshBatchHandler {
    state: Arc<FeedIndexState>,
}

impl BatchHandler for RefreshBatchHandler {
    const NAME: &'static str = "feed_refresh";
    /// The viewer.
    type Task = i64;
    /// The viewer and the users whom a block separates from them; `None` if the index cannot be used.
    type Answer = Option<Vec<i64>>;
    type Error = Error;

    async fn handle(&self, batch: &[BatchItem<i64>]) -> Result<Vec<Option<Vec<i64>>>, Error> {
        let viewers: Vec<i64> = batch.iter().map(|item| item.task).collect();
        let mut connection = self.state.db.acquire().await?;
        let refresh = self.state.refresh(&mut connection, &viewers).await?;
        let Some(FeedIndexRefresh { hidden, .. }) = refresh else {
            return Ok(vec![None; batch.len()]);
        };
        let answers = viewers.iter().map(|viewer| {
            let mut hidden = hidden.get(viewer).cloned().unwrap_or_default();
            hidden.push(*viewer);
            Some(hidden)
        });
        Ok(answers.collect())
    }

    fn fails_whole_batch(_error: &Error) -> bool {
        true
    }
}
