//! The tables of calls.

pub mod calls;
pub mod history;
pub mod live_parties;
