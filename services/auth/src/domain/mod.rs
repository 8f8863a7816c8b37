//! What auth decides, without touching anything.

pub mod claims;
mod client_address;
mod device;
mod error;
mod otp;
mod phone;
mod revocation;

pub use client_address::ClientAddress;
pub use device::Device;
pub use error::AuthError;
pub use otp::{Otp, OtpRules};
pub use phone::Phone;
pub use revocation::Revocation;
