//! Auth against a real Redis and Postgres.

mod audit;
mod audit_months;
mod keys;
mod logins;
mod otp_guesses;
mod otps;
mod revocations;
mod sessions;
mod sms;
mod support;
