//! Periodic work.

pub(crate) mod purge;
pub(crate) mod purge_audit_log;
pub(crate) mod reload_keys;
