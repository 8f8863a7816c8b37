//! The tables of presence. Statements that wait for row locks take them in ascending order of user ids, so that
//! transactions do not wait for each other in a circle.

pub mod deleted_users;
pub mod export;
pub mod user_status;
