//! Bank accounts that withdrawals are paid to.

use std::fmt;

use talktime_kit::text;

use super::WalletError;

/// Longest name of a person or a bank, in characters.
const NAME_CHARS_MAX: usize = 100;
/// Digits of an account number that people are shown.
const SHOWN_DIGITS: usize = 4;

/// A bank account. Its `Debug` output is empty, because no part of it belongs in a log.
#[derive(Clone, Eq, PartialEq)]
pub struct BankDetails {
    /// The holder's name as the bank knows it.
    pub account_holder_name: String,
    /// 9 to 18 digits.
    pub account_number: String,
    /// Indian Financial System Code: four letters, a zero, six letters or digits.
    pub ifsc_code: String,
    /// Text that is shown to people.
    pub bank_name: Option<String>,
}

impl BankDetails {
    /// Parses what a person typed. Surrounding spaces and lower-case letters in the code are accepted.
    pub fn parse(
        account_holder_name: &str,
        account_number: &str,
        ifsc_code: &str,
        bank_name: Option<&str>,
    ) -> Result<Self, WalletError> {
        let bank_name = bank_name.filter(|name| !name.trim().is_empty());
        let details = Self {
            account_holder_name: normalize_name("account_holder_name", account_holder_name)?,
            account_number: account_number.trim().to_owned(),
            ifsc_code: ifsc_code.trim().to_ascii_uppercase(),
            bank_name: bank_name
                .map(|name| normalize_name("bank_name", name))
                .transpose()?,
        };
        details.check()?;
        Ok(details)
    }

    fn check(&self) -> Result<(), WalletError> {
        if !is_account_number(&self.account_number) {
            return Err(WalletError::InvalidBankDetails("account_number"));
        }
        if !is_ifsc(&self.ifsc_code) {
            return Err(WalletError::InvalidBankDetails("ifsc_code"));
        }
        Ok(())
    }

    /// The account number with all but the last four digits masked.
    pub fn masked_account_number(&self) -> String {
        let hidden = self.account_number.len().saturating_sub(SHOWN_DIGITS);
        format!("{}{}", "X".repeat(hidden), &self.account_number[hidden..])
    }
}

impl fmt::Debug for BankDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BankDetails")
    }
}

/// Refuses characters that make a name look different from what it is, because a person at the bank reads it.
fn normalize_name(field: &'static str, name: &str) -> Result<String, WalletError> {
    text::normalize_line(name, NAME_CHARS_MAX)
        .map_err(|error| WalletError::InvalidBankName { field, error })
}

fn is_account_number(text: &str) -> bool {
    (9..=18).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Contract, section 6: `AAAA0XXXXXX`.
fn is_ifsc(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() == 11
        && bytes[..4].iter().all(u8::is_ascii_uppercase)
        && bytes[4] == b'0'
        && bytes[5..]
            .iter()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(name: &str, number: &str, ifsc: &str) -> Result<BankDetails, WalletError> {
        BankDetails::parse(name, number, ifsc, None)
    }

    #[test]
    fn typed_bank_details_are_normalized() {
        let details = parse(" Devi Rao ", "123456789", "hdfc0abc123").expect("right");
        assert_eq!(details.account_holder_name, "Devi Rao");
        assert_eq!(details.ifsc_code, "HDFC0ABC123");
        assert_eq!(details.masked_account_number(), "XXXXX6789");
        assert!(parse("Devi", &"9".repeat(18), "HDFC0000001").is_ok());
    }

    #[test]
    fn invalid_accounts_are_refused() {
        for (name, number, ifsc, field) in [
            ("Devi", "12345678", "HDFC0ABC123", "account_number"),
            (
                "Devi",
                "1234567890123456789",
                "HDFC0ABC123",
                "account_number",
            ),
            ("Devi", "12345678a", "HDFC0ABC123", "account_number"),
            ("Devi", "१२३४५६७८९", "HDFC0ABC123", "account_number"),
            ("Devi", "123456789", "HDFC1ABC123", "ifsc_code"),
            ("Devi", "123456789", "HDF00ABC123", "ifsc_code"),
            ("Devi", "123456789", "HDFC0ABC12", "ifsc_code"),
            ("Devi", "123456789", "HDFC0ABC12é", "ifsc_code"),
        ] {
            let error = parse(name, number, ifsc).expect_err("wrong");
            assert!(
                matches!(error, WalletError::InvalidBankDetails(wrong) if wrong == field),
                "{number} {ifsc}: {error}"
            );
        }
    }

    #[test]
    fn names_with_deceptive_characters_are_refused() {
        for (name, reason) in [
            ("", "empty"),
            ("a\nb", "invisible"),
            ("Devi\u{202E}oaR", "direction"),
            ("Devi\u{200B} Rao", "invisible"),
            ("\u{3164}", "invisible"),
            (&"n".repeat(101), "at most 100 characters"),
        ] {
            let bank = (!name.is_empty()).then_some(name);
            let holder = parse(name, "123456789", "HDFC0ABC123");
            let bank =
                bank.map(|name| BankDetails::parse("Devi", "123456789", "HDFC0ABC123", Some(name)));
            for refused in [Some(holder), bank].into_iter().flatten() {
                let refused = talktime_kit::Error::from(refused.expect_err("wrong"));
                assert_eq!(refused.code(), "invalid_bank_details");
                assert!(refused.detail().contains(reason), "{}", refused.detail());
            }
        }
        for name in ["देवी राव", "Devi D'Souza-Rao", "தேவி ராவ்"] {
            let details = parse(name, "123456789", "HDFC0ABC123").expect("a name");
            assert_eq!(details.account_holder_name, name);
        }
        let decomposed = parse("Jose\u{301}", "123456789", "HDFC0ABC123").expect("a name");
        assert_eq!(decomposed.account_holder_name, "Jos\u{E9}");
    }

    #[test]
    fn debug_output_hides_the_account() {
        let details = parse("Devi", "123456789", "HDFC0ABC123").expect("right");
        assert_eq!(format!("{details:?}"), "BankDetails");
    }
}
