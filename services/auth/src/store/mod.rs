//! What auth keeps: the audit log, revocations and signing keys in Postgres, the rest in Redis. Whatever must be
//! atomic over several keys, or over several replicas, is one script; so Redis here is one primary (with
//! replicas), not a cluster.

pub mod audit_log;
pub mod keys;
pub mod otps;
pub mod revocations;
pub mod sessions;
pub mod signing_keys;
