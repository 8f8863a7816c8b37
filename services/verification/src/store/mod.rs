//! Verification's tables.

pub mod listener_verifications;
