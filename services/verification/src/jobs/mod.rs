//! Periodic work.

pub mod build_exports;
pub mod reconcile_bucket;
pub mod watch_bucket;
