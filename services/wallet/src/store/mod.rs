//! The wallet's tables. Locks are taken in one order everywhere: wallets by user id, then the rest.

pub mod accounts;
pub mod payments;
pub mod posting;
pub mod transfers;
pub mod wallets;
