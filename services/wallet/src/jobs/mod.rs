//! Periodic work.

pub(crate) mod reconcile_orders;
pub(crate) mod sum_histories;
pub(crate) mod verify_books;
