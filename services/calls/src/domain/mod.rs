//! What a call is and what becomes of it, without touching anything.

pub mod badge;
pub mod billing;
pub mod call;
mod error;
pub mod india;
pub mod rating;
pub mod steps;
mod words;

pub use error::CallError;
