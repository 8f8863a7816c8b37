//! What happens when parts die: at every step of a call, and for a while.
//!
//! These tests stop and kill parts of the one stack, so they take turns.

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
mod replicas;
mod revocations;
mod roles;
mod silent;
mod traces;
mod uploads;

use tokio::sync::{Mutex, MutexGuard};

static STACK: Mutex<()> = Mutex::const_new(());

/// The stack, for one test at a time.
async fn take_stack() -> MutexGuard<'static, ()> {
    STACK.lock().await
}
