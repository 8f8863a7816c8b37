//! Periodic work.

pub(crate) mod anchor_chains;
pub(crate) mod delete_old;
pub(crate) mod reconcile_orders;
pub(crate) mod sum_histories;
pub(crate) mod verify_books;
