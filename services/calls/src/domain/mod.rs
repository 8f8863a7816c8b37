//! The domain: calls, badges, ratings and every decision about them, without input or output.

pub mod activity;
pub mod badge;
pub mod billing;
pub mod call;
mod call_type;
mod decode;
pub mod ending;
mod error;
pub mod evidence;
pub mod india;
pub mod limits;
pub mod media_loss;
mod media_refusals;
pub mod minute_shares;
pub mod rating;
pub mod relay;
pub mod relay_choice;
pub mod relay_flow;
pub mod ringing;
pub mod seats;
pub mod steps;
pub mod transitions;

pub use error::CallError;
