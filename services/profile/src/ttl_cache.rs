//! A cache of answers that may be slightly old. Concurrent requests for a key share one lookup.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The most keys in the cache; when it is full, the expired ones are dropped.
const KEYS_MAX: usize = 1_000;

/// Caches a value for each key.
pub(crate) struct TtlCache<K, V> {
    ttl: Duration,
    slots: Mutex<HashMap<K, Arc<TtlCacheSlot<V>>>>,
}

/// The value and the time at which its lookup began. It is locked during a lookup, so that other requests
/// wait for the value instead of looking it up too.
type TtlCacheSlot<V> = tokio::sync::Mutex<Option<(Instant, V)>>;

impl<K: Clone + Eq + Hash, V: Clone> TtlCache<K, V> {
    /// Values expire `ttl` after their lookup began.
    pub(crate) fn new(ttl: Duration) -> Self {
        Self {
            ttl,
            slots: Mutex::default(),
        }
    }

    /// Returns the cached value, or else the one that `load` returns. Errors are not cached.
    pub(crate) async fn get_or_load<E>(
        &self,
        key: &K,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<V, E> {
        let slot = self.find_slot(key);
        let mut slot = slot.lock().await;
        if let Some((loaded_at, value)) = &*slot
            && loaded_at.elapsed() < self.ttl
        {
            return Ok(value.clone());
        }
        let loaded_at = Instant::now();
        let value = load.await?;
        *slot = Some((loaded_at, value.clone()));
        Ok(value)
    }

    fn find_slot(&self, key: &K) -> Arc<TtlCacheSlot<V>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEYS_MAX && !slots.contains_key(key) {
            slots.retain(|_, slot| self.is_fresh(slot));
            if slots.len() >= KEYS_MAX {
                slots.clear();
            }
        }
        slots.entry(key.clone()).or_default().clone()
    }

    /// Returns whether a slot has a value that has not expired. A slot that is locked counts as expired: the
    /// request that holds it completes without the cache.
    fn is_fresh(&self, slot: &TtlCacheSlot<V>) -> bool {
        slot.try_lock().is_ok_and(|slot| {
            slot.as_ref()
                .is_some_and(|(loaded_at, _)| loaded_at.elapsed() < self.ttl)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(cache: &TtlCache<u32, u32>, key: u32, value: u32) -> u32 {
        let found = cache.get_or_load(&key, async { Ok::<_, ()>(value) });
        found.await.expect("found")
    }

    #[tokio::test]
    async fn a_value_is_reused_for_its_key_until_it_expires() {
        let long = TtlCache::new(Duration::from_hours(1));
        assert_eq!(get(&long, 1, 10).await, 10);
        assert_eq!(get(&long, 1, 11).await, 10);
        assert_eq!(get(&long, 2, 12).await, 12);
        let never = TtlCache::new(Duration::ZERO);
        assert_eq!(get(&never, 1, 10).await, 10);
        assert_eq!(get(&never, 1, 11).await, 11);
    }

    #[tokio::test]
    async fn keys_are_bounded_and_errors_are_not_cached() {
        let long = TtlCache::new(Duration::from_hours(1));
        for key in 0..2 * u32::try_from(KEYS_MAX).expect("small") {
            get(&long, key, key).await;
        }
        let cached = long.slots.lock().expect("not poisoned").len();
        assert!(cached <= KEYS_MAX, "{cached}");
        let failed = long.get_or_load(&7_777, async { Err::<u32, _>("away") });
        assert_eq!(failed.await, Err("away"));
        assert_eq!(get(&long, 7_777, 5).await, 5);
    }
}
