//! The rules of auth, without input or output.

mod account;
mod attestation;
pub mod claims;
mod client_address;
mod device;
mod error;
mod login_proof;
pub(crate) mod otp;
mod otp_storage;
mod phone;
mod revocation;
mod signing_key;

pub use account::UserAccount;
pub use attestation::{
    ATTESTATION_CLOCK_SKEW_MAX, AttestationFailure, AttestationStatement, AttestedOperation,
    attestation_nonce,
};
pub use client_address::{ClientAddress, ClientNetwork, NetworkSize};
pub use device::DeviceName;
pub use error::AuthError;
pub use login_proof::LoginProof;
pub use otp::{OneTimePassword, OtpChallenge, OtpGuess, OtpRules};
pub use otp_storage::OtpStorage;
pub use phone::{PhoneNumber, PhoneRules};
pub use revocation::TokenRevocation;
pub use signing_key::{KeyStageRefusal, SPREAD_MIN, SigningKey, SigningKeyStage};
