//! What a call is and what becomes of it, without touching anything.

pub mod billing;
pub mod call;
mod error;
pub mod rating;
pub mod steps;

pub use error::CallError;
