//! The rules of the wallet, without input or output.

pub mod anchor;
pub mod bank;
pub mod chain;
pub mod charging;
pub mod dispute;
pub mod earning_days;
mod error;
pub mod history;
pub mod journal;
pub mod order_evaluation;
pub mod payment;
pub mod posting;
pub mod provider_payment;
pub mod settlement;
pub mod withdrawal;
mod withdrawal_status;

pub use error::WalletError;
