//! One-time passwords and what bounds them (contract, section 2).

use std::fmt;

use rand::{CryptoRng, Rng};
use serde::Deserialize;

/// A one-time password of six digits.
#[derive(Clone, Eq, PartialEq)]
pub struct OneTimePassword(String);

impl OneTimePassword {
    /// Generates a password; all million are equally likely.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self(format!("{:06}", rng.random_range(0..1_000_000)))
    }

    /// A password that was read from the store.
    pub fn from_stored(digits: String) -> Self {
        Self(digits)
    }

    /// The digits.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OneTimePassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otp(..)")
    }
}

/// Limits of one-time passwords. The first five are for one phone, and the contract's; the others
/// bound what can be guessed and what can be spent on text messages. Their defaults let a test
/// register hundreds of people from one address; production sets lower ones.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default)]
pub struct OtpRules {
    /// Lifetime of a password.
    pub lifetime_secs: u32,
    /// New passwords in a window at most.
    pub sends_max: u32,
    /// The window.
    pub sends_window_secs: u32,
    /// Pause between two resends.
    pub resend_pause_secs: u32,
    /// The wrong try that burns a password.
    pub wrong_tries_max: u32,
    /// Wrong tries in a day for one phone, over all its passwords; then not even a right one helps.
    pub daily_wrong_tries_max: u32,
    /// Messages in a shared window that one client's address requests for any phones.
    pub address_sends_max: u32,
    /// Messages in a shared window to numbers that differ in their last four digits only.
    pub prefix_sends_max: u32,
    /// Messages in a shared window to everybody, which bounds what can be spent.
    pub platform_sends_max: u32,
    /// The window of the three limits above.
    pub shared_window_secs: u32,
}

impl Default for OtpRules {
    fn default() -> Self {
        Self {
            lifetime_secs: 300,
            sends_max: 5,
            sends_window_secs: 900,
            resend_pause_secs: 60,
            wrong_tries_max: 5,
            daily_wrong_tries_max: 20,
            address_sends_max: 20_000,
            prefix_sends_max: 500,
            platform_sends_max: 100_000,
            shared_window_secs: 900,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_six_digits_with_its_leading_zeros() {
        for _ in 0..2_000 {
            let otp = OneTimePassword::generate(&mut rand::rng());
            assert_eq!(otp.expose().len(), 6);
            assert!(otp.expose().bytes().all(|byte| byte.is_ascii_digit()));
        }
    }

    #[test]
    fn debug_output_hides_the_digits() {
        let otp = OneTimePassword::from_stored("123456".to_owned());
        assert_eq!(format!("{otp:?}"), "Otp(..)");
    }
}
