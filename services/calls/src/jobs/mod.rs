//! Periodic work.

pub(crate) mod cleanup;
pub(crate) mod media_watch;
pub(crate) mod nightly_badges;
pub(crate) mod silence_watch;
pub(crate) mod sweeper;
