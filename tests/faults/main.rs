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

use futures::future::join_all;
use talktime_tests::{SERVICES, run_dev};
use tokio::sync::{Mutex, MutexGuard};

static STACK: Mutex<()> = Mutex::const_new(());

/// Reserves the stack for one test.
async fn lock_stack() -> MutexGuard<'static, ()> {
    STACK.lock().await
}

/// Publishes the events of the last hour of all services again.
async fn republish_events() {
    let republish = ["republish", "--operator", "asha", "--since-secs", "3600"];
    let commands = SERVICES.map(|service| [&["run", service], republish.as_slice()].concat());
    join_all(commands.iter().map(|command| run_dev(command))).await;
}
