//! Interests as the feed compares them. Only Postgres folds them (`profile.interest_keys`), because two programs with
//! different versions of Unicode would fold some texts differently.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use talktime_kit::db::DatabasePool;

use crate::store::feed_changes;

/// The most interests in the cache; when it is full, it is emptied.
const INTERESTS_MAX: usize = 10_000;

/// Caches the keys of interests, which never change.
pub(crate) struct InterestKeyCache {
    db: DatabasePool,
    keys: Mutex<HashMap<String, String>>,
}

impl InterestKeyCache {
    pub(crate) fn new(db: DatabasePool) -> Self {
        Self {
            db,
            keys: Mutex::default(),
        }
    }

    /// Returns the keys of interests.
    pub(crate) async fn fold(&self, interests: &[String]) -> sqlx::Result<Vec<String>> {
        if interests.is_empty() {
            return Ok(Vec::new());
        }
        if let Some(keys) = self.find(interests) {
            return Ok(keys);
        }
        let mut connection = self.db.acquire().await?;
        let folded = feed_changes::fold_interests(&mut connection, interests).await?;
        let keys = folded.values().cloned().collect();
        self.remember(folded);
        Ok(keys)
    }

    fn find(&self, interests: &[String]) -> Option<Vec<String>> {
        let known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = interests.iter();
        keys.map(|interest| known.get(interest).cloned()).collect()
    }

    fn remember(&self, folded: HashMap<String, String>) {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + folded.len() > INTERESTS_MAX {
            known.clear();
        }
        known.extend(folded);
    }
}
