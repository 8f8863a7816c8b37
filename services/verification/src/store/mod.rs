//! Verification's tables.

pub mod data_exports;
pub mod decisions;
pub mod export;
pub mod listener_verifications;
pub mod photo_decisions;
pub mod profile_photos;
pub mod standings;
