//! The steps that many calls take together, each with a handler that takes a batch one step further.

pub(crate) mod charge;
pub(crate) mod check;
pub(crate) mod end;
pub(crate) mod go_live;
pub(crate) mod reserve;
pub(crate) mod settle;
