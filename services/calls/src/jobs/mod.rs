//! Periodic work.

pub(crate) mod nightly_badges;
pub(crate) mod relay_cleanup;
pub(crate) mod ring_cleanup;
pub(crate) mod silence_watch;
pub(crate) mod sweeper;
