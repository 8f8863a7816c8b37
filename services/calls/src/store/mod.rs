//! Statements on the tables of the schema `calls`.

pub mod badges;
pub mod barred_pairs;
pub mod bulk_lookups;
pub mod call_ratings;
pub mod calls;
pub mod deleted_users;
pub mod export;
pub mod history;
pub mod live_parties;
pub mod prices;
