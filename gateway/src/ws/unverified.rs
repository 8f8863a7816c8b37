//! The listeners without a valid verification, for a feed that shows verified listeners only.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// Listeners whose verification was rejected or revoked, as far as the stream was read.
#[derive(Default)]
pub(super) struct UnverifiedListeners(RwLock<HashSet<i64>>);

impl UnverifiedListeners {
    pub(super) fn contains(&self, user_id: i64) -> bool {
        let unverified = self.0.read().unwrap_or_else(PoisonError::into_inner);
        unverified.contains(&user_id)
    }

    pub(super) fn set(&self, user_id: i64, is_verified: bool) {
        let mut unverified = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if is_verified {
            unverified.remove(&user_id);
        } else {
            unverified.insert(user_id);
        }
    }
}
