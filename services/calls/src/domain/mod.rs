//! The domain: calls, badges, ratings and every decision about them, without input or output.

pub mod badge;
pub mod billing;
pub mod call;
mod call_type;
mod decode;
pub mod ending;
mod error;
pub mod india;
pub mod limits;
pub mod rating;
pub mod relay;
pub mod ringing;
pub mod steps;

pub use error::CallError;
