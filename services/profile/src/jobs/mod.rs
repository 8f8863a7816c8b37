//! Periodic work of profile.

mod deletion_sweep;
pub mod feed_check;
mod feed_index;

pub(crate) use deletion_sweep::start_deletion_sweep;
pub(crate) use feed_check::start_feed_checks;
pub(crate) use feed_index::{start_feed_index, start_removal_purge};
