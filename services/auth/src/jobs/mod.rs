//! Periodic work.

pub(crate) mod purge;
pub(crate) mod reload_keys;
