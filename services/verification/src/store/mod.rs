//! Verification's tables.

pub mod decisions;
pub mod listener_verifications;
pub mod standings;
