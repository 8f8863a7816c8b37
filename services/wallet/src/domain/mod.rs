//! What the wallet decides, without touching anything.

pub mod charging;
mod error;
pub mod journal;
pub mod payment;
pub mod settlement;

pub use error::WalletError;
