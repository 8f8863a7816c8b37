//! The tables of calls.

pub mod badges;
pub mod barred_pairs;
pub mod call_ratings;
pub mod calls;
pub mod deleted_users;
pub mod history;
pub mod live_parties;
pub mod others;
pub mod prices;
