//! Statements on the tables of the schema `calls`.

pub mod answer_rates;
pub mod badges;
pub mod barred_pairs;
pub mod bulk_lookups;
mod call_columns;
pub mod call_ratings;
pub mod calls;
pub mod deleted_users;
pub mod export;
pub mod history;
pub mod live_parties;
pub mod media_minutes;
pub mod minute_verdicts;
pub mod prices;
pub mod relay_allocations;
pub mod relay_nodes;
pub mod reservations;
pub mod ring_limits;
pub mod rings;
pub mod seats;
pub mod seen_unanswered;
pub mod unanswered_streaks;
