//! The data of auth: one-time passwords and sessions in Redis, the rest in Postgres. Changes that must be
//! atomic over several keys are one script, so this Redis is one primary with replicas, not a cluster.

pub mod attestations;
pub mod audit_log;
pub mod code_logins;
pub mod deleted_users;
pub mod export;
pub mod keys;
pub mod otp_guesses;
pub mod otps;
pub mod registrations;
pub mod revocations;
pub mod sessions;
pub mod signing_keys;
pub mod used_codes;
