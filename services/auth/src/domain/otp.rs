//! One-time passwords and what bounds them (contract, section 2).

use std::fmt;

use rand::{CryptoRng, Rng};
use serde::Deserialize;
use uuid::Uuid;

use super::{ClientAddress, NetworkSize};

/// A one-time password of six digits.
#[derive(Clone, Eq, PartialEq)]
pub struct OneTimePassword(String);

/// Passwords have six digits.
const PASSWORDS: u64 = 1_000_000;

impl OneTimePassword {
    /// Generates a password; all million are equally likely.
    pub fn generate(rng: &mut impl CryptoRng) -> Self {
        Self::from_number(rng.random_range(0..PASSWORDS))
    }

    /// The password that follows from a number of any size.
    pub(super) fn from_number(number: u64) -> Self {
        Self(format!("{:06}", number % PASSWORDS))
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

/// A one-time password with the id of the login that it begins. Only the client that requested the password knows
/// the id, so wrong guesses of other clients do not count against it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct OtpChallenge {
    /// Random, so that it cannot be guessed.
    pub id: Uuid,
    /// The password; for the store, in the form in which it has passwords.
    pub otp: OneTimePassword,
}

/// A guess at a one-time password.
#[derive(Clone, Copy)]
pub struct OtpGuess<'a> {
    /// The digits, as the client sent them; for the store, in the form in which it has passwords.
    pub digits: &'a str,
    /// The challenge that the client names. Without one, the guess is at the active password of the phone.
    pub challenge_id: Option<Uuid>,
    /// The address that the guess comes from.
    pub address: ClientAddress,
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
    /// The wrong try that burns a password: for its challenge, or for one address without a challenge.
    pub wrong_tries_max: u32,
    /// Wrong tries without a challenge in a day at one phone from one address; then not even a right one helps.
    pub daily_wrong_tries_max: u32,
    /// Wrong tries in a day at one phone from all addresses, separately for tries with a challenge and without one.
    /// Beyond them, a challenge allows one try instead of `wrong_tries_max`, and tries without one are refused.
    pub phone_wrong_tries_max: u32,
    /// Wrong tries in a shared window at any phones from one address: an IPv4 address or an IPv6 network of 64 bits.
    pub address_wrong_tries_max: u32,
    /// The same for an IPv6 network of 56 bits.
    pub network_56_wrong_tries_max: u32,
    /// The same for an IPv6 network of 48 bits.
    pub network_48_wrong_tries_max: u32,
    /// Messages in a shared window that one client's address requests for any phones: an IPv4 address or an IPv6
    /// network of 64 bits.
    pub address_sends_max: u32,
    /// The same for an IPv6 network of 56 bits.
    pub network_56_sends_max: u32,
    /// The same for an IPv6 network of 48 bits.
    pub network_48_sends_max: u32,
    /// Messages in a shared window to numbers that differ in their last four digits only.
    pub prefix_sends_max: u32,
    /// Messages in a shared window to everybody, which bounds what can be spent.
    pub platform_sends_max: u32,
    /// Messages beyond `prefix_sends_max` that only phones with an account may get, so that requests for other phones
    /// do not keep known users out.
    pub prefix_reserve: u32,
    /// The same beyond `platform_sends_max`.
    pub platform_reserve: u32,
    /// The window of all limits that several phones share.
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
            phone_wrong_tries_max: 100,
            address_wrong_tries_max: 20_000,
            network_56_wrong_tries_max: 20_000,
            network_48_wrong_tries_max: 20_000,
            address_sends_max: 20_000,
            network_56_sends_max: 20_000,
            network_48_sends_max: 20_000,
            prefix_sends_max: 500,
            platform_sends_max: 100_000,
            prefix_reserve: 50,
            platform_reserve: 10_000,
            shared_window_secs: 900,
        }
    }
}

/// The names of limits in the audit log and in metrics.
pub(crate) const PREFIX_LIMIT: &str = "prefix";
pub(crate) const PLATFORM_LIMIT: &str = "platform";

impl OtpRules {
    /// Returns the rules of a phone with an account, which may use the reserves.
    #[must_use]
    pub fn with_reserve(&self) -> Self {
        Self {
            prefix_sends_max: self.prefix_sends_max.saturating_add(self.prefix_reserve),
            platform_sends_max: self
                .platform_sends_max
                .saturating_add(self.platform_reserve),
            ..*self
        }
    }

    /// Whether the limit with this name has a reserve.
    pub fn has_reserve(limit: &str) -> bool {
        [PREFIX_LIMIT, PLATFORM_LIMIT].contains(&limit)
    }

    /// Returns the messages that clients in a network of this size may request in a shared window.
    pub fn network_sends_max(&self, size: NetworkSize) -> u32 {
        match size {
            NetworkSize::Address => self.address_sends_max,
            NetworkSize::Bits56 => self.network_56_sends_max,
            NetworkSize::Bits48 => self.network_48_sends_max,
        }
    }

    /// Returns the wrong tries that clients in a network of this size have in a shared window.
    pub fn network_wrong_tries_max(&self, size: NetworkSize) -> u32 {
        match size {
            NetworkSize::Address => self.address_wrong_tries_max,
            NetworkSize::Bits56 => self.network_56_wrong_tries_max,
            NetworkSize::Bits48 => self.network_48_wrong_tries_max,
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
