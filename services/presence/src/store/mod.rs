//! Presence's tables. Rows are locked in the order of user ids everywhere.

pub mod deleted_users;
pub mod user_status;
