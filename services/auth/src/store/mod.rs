//! What auth keeps: one-time passwords and sessions in Redis, the rest in Postgres. Whatever must be
//! atomic over several keys, or over several replicas, is one script; so Redis here is one primary (with
//! replicas), not a cluster.

pub mod audit_log;
pub mod deleted_users;
pub mod keys;
pub mod otps;
pub mod registrations;
pub mod revocations;
pub mod sessions;
pub mod signing_keys;
pub mod used_codes;
