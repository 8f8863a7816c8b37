//! The tables of calls.

pub mod call_ratings;
pub mod calls;
pub mod history;
pub mod live_parties;
pub mod others;
