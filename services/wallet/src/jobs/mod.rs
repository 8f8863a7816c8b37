//! Periodic work.

pub(crate) mod reconcile_orders;
pub(crate) mod verify_books;
