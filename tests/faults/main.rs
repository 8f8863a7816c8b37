//! Faults of parts: kills at every step of a call, and outages.
//!
//! These tests stop and kill parts of the one stack, so they run one after another.

mod charges;
mod event_order;
mod figures;
mod hangups;
mod keys;
mod kill;
mod limits;
mod logins;
mod outage;
mod passwords;
mod presence;
mod raw_bytes;
mod refill;
mod relay;
mod relay_start;
mod replicas;
mod restore;
mod revocations;
mod ringing;
mod silent;
mod traces;
mod uploads;

use tokio::sync::{Mutex, MutexGuard};

static STACK: Mutex<()> = Mutex::const_new(());

/// Reserves the stack for one test.
async fn lock_stack() -> MutexGuard<'static, ()> {
    STACK.lock().await
}
