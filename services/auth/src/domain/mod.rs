//! What auth decides, without touching anything.

pub mod claims;
mod error;
mod otp;
mod phone;

pub use error::AuthError;
pub use otp::{Otp, OtpRules};
pub use phone::Phone;
