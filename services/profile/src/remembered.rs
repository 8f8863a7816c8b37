//! Answers that may be a moment old, found once for all who ask meanwhile.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Keys that are held at most; when they are more, the old ones are dropped.
const KEYS_MAX: usize = 1_000;

/// Remembers an answer for each key.
pub struct Remembered<K, V> {
    lasts: Duration,
    slots: Mutex<HashMap<K, Arc<Slot<V>>>>,
}

/// Held while the answer is looked for, so that others wait for it instead of looking too.
type Slot<V> = tokio::sync::Mutex<Option<(Instant, V)>>;

impl<K: Clone + Eq + Hash, V: Clone> Remembered<K, V> {
    /// Answers are good for `lasts` after they were asked for.
    pub fn new(lasts: Duration) -> Self {
        Self {
            lasts,
            slots: Mutex::default(),
        }
    }

    /// The answer of a moment ago, or else what `find` finds. An error is not remembered.
    pub async fn get<E>(&self, key: &K, find: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let slot = self.slot(key);
        let mut slot = slot.lock().await;
        if let Some((asked_at, value)) = &*slot
            && asked_at.elapsed() < self.lasts
        {
            return Ok(value.clone());
        }
        let asked_at = Instant::now();
        let value = find.await?;
        *slot = Some((asked_at, value.clone()));
        Ok(value)
    }

    fn slot(&self, key: &K) -> Arc<Slot<V>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEYS_MAX && !slots.contains_key(key) {
            slots.retain(|_, slot| self.is_wanted(slot));
            if slots.len() >= KEYS_MAX {
                slots.clear();
            }
        }
        slots.entry(key.clone()).or_default().clone()
    }

    /// Whether somebody is at it, or it still holds.
    fn is_wanted(&self, slot: &Slot<V>) -> bool {
        slot.try_lock().is_ok_and(|slot| {
            slot.as_ref()
                .is_some_and(|(asked_at, _)| asked_at.elapsed() < self.lasts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(remembered: &Remembered<u32, u32>, key: u32, value: u32) -> u32 {
        let found = remembered.get(&key, async { Ok::<_, ()>(value) });
        found.await.expect("found")
    }

    #[tokio::test]
    async fn an_answer_holds_for_its_time_and_its_key() {
        let long = Remembered::new(Duration::from_hours(1));
        assert_eq!(get(&long, 1, 10).await, 10);
        assert_eq!(get(&long, 1, 11).await, 10);
        assert_eq!(get(&long, 2, 12).await, 12);
        let never = Remembered::new(Duration::ZERO);
        assert_eq!(get(&never, 1, 10).await, 10);
        assert_eq!(get(&never, 1, 11).await, 11);
    }

    #[tokio::test]
    async fn keys_are_bounded_and_errors_are_forgotten() {
        let long = Remembered::new(Duration::from_hours(1));
        for key in 0..2 * u32::try_from(KEYS_MAX).expect("small") {
            get(&long, key, key).await;
        }
        let held = long.slots.lock().expect("unpoisoned").len();
        assert!(held <= KEYS_MAX, "{held}");
        let failed = long.get(&7_777, async { Err::<u32, _>("away") }).await;
        assert_eq!(failed, Err("away"));
        assert_eq!(get(&long, 7_777, 5).await, 5);
    }
}
