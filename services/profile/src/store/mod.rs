//! Statements of the schema `profile`, one file for each table.

pub mod deletion_reasons;
pub mod export;
pub mod feed_changes;
pub mod feed_listeners;
pub mod feed_pages;
pub mod feed_stats;
mod listener_columns;
pub mod pending_deletions;
pub mod spent_registrations;
pub mod user_blocks;
pub mod user_favorites;
pub mod user_roles;
pub mod users;
