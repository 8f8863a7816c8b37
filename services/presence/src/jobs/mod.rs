//! Periodic work.

pub mod sweep;
