//! The tables of calls.

pub mod badges;
pub mod call_ratings;
pub mod calls;
pub mod history;
pub mod live_parties;
pub mod others;
pub mod prices;
