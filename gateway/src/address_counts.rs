//! Counts what each client address holds at the same time, such as connections, so that no address holds all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::extract::AddressKey;

const LIMITED: &str = "address_limited_total";

/// Counts one kind of thing by address; cheap to clone. The memory is bounded by the number of things that all
/// addresses hold together.
#[derive(Clone, Debug)]
pub struct AddressCounts(Arc<AddressCountsParts>);

#[derive(Debug)]
struct AddressCountsParts {
    /// The name of the thing in metrics.
    what: &'static str,
    /// 0 for no limit.
    per_address_max: usize,
    counts: Mutex<HashMap<AddressKey, usize>>,
}

/// One thing that an address holds until this is dropped.
#[derive(Debug)]
pub struct AddressEntry {
    counts: AddressCounts,
    address: AddressKey,
}

impl AddressCounts {
    /// Lets each address hold so many things at once; 0 for no limit.
    pub fn new(what: &'static str, per_address_max: usize) -> Self {
        // Starts at zero, so that the first increase is visible.
        metrics::counter!(LIMITED, "what" => what).increment(0);
        Self(Arc::new(AddressCountsParts {
            what,
            per_address_max,
            counts: Mutex::default(),
        }))
    }

    /// Counts one more thing of this address. Returns `None` if the address holds as many as it may.
    pub fn enter(&self, address: AddressKey) -> Option<AddressEntry> {
        let per_address_max = self.0.per_address_max;
        let mut counts = self.lock_counts();
        let count = counts.entry(address).or_default();
        if per_address_max > 0 && *count >= per_address_max {
            metrics::counter!(LIMITED, "what" => self.0.what).increment(1);
            return None;
        }
        *count += 1;
        Some(AddressEntry {
            counts: self.clone(),
            address,
        })
    }

    fn lock_counts(&self) -> MutexGuard<'_, HashMap<AddressKey, usize>> {
        let counts = self.0.counts.lock();
        counts.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for AddressEntry {
    fn drop(&mut self) {
        let mut counts = self.counts.lock_counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> AddressKey {
        text.parse::<IpAddr>().expect("an address").into()
    }

    #[test]
    fn each_address_holds_a_number_of_things_at_once() {
        let counts = AddressCounts::new("things", 2);
        let (here, elsewhere) = (address("203.0.113.7"), address("203.0.113.8"));
        let held = [counts.enter(here), counts.enter(here)];
        assert!(held.iter().all(Option::is_some));
        assert!(counts.enter(here).is_none());
        assert!(counts.enter(elsewhere).is_some());
        drop(held);
        assert!(counts.enter(here).is_some());
        assert!(counts.lock_counts().is_empty(), "nothing is held now");
    }

    #[test]
    fn zero_is_no_limit() {
        let counts = AddressCounts::new("things", 0);
        let held: Vec<_> = (0..100)
            .map(|_| counts.enter(address("203.0.113.7")))
            .collect();
        assert!(held.iter().all(Option::is_some));
    }
}
