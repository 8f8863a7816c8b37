//! The tables of calls.

pub mod calls;
pub mod live_parties;
