//! What auth decides, without touching anything.

pub mod claims;
mod client_address;
mod device;
mod error;
mod otp;
mod phone;

pub use client_address::ClientAddress;
pub use device::Device;
pub use error::AuthError;
pub use otp::{Otp, OtpRules};
pub use phone::Phone;
