//! The steps of the saga that calls take in batches, each with its batch handler. [`super`] lists their
//! undo.

pub(crate) mod charge;
pub(crate) mod check;
pub(crate) mod check_caller;
pub(crate) mod end;
pub(crate) mod end_ring;
pub(crate) mod go_live;
pub(crate) mod reserve;
pub(crate) mod reserve_ring;
pub(crate) mod settle;
