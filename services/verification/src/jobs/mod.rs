//! Periodic work.

pub mod reconcile_bucket;
pub mod watch_bucket;
