//! Phone numbers as E.164, the one form that everything keys by.

use std::fmt;

use super::AuthError;

/// Longest text that is parsed: E.164's 15 digits with a plus, spaces and brackets between them.
const TEXT_LENGTH_MAX: usize = 32;

/// A phone number in E.164, such as `+919812345678`. Its debug output hides most of it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Parses a number that a person typed, with its country code; spaces, hyphens, dots and brackets
    /// are fine. A number that its country does not assign is refused.
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        if text.len() > TEXT_LENGTH_MAX || !text.chars().all(is_phone_character) {
            return Err(AuthError::InvalidPhone);
        }
        let number = phonenumber::parse(None, text.trim()).map_err(|_| AuthError::InvalidPhone)?;
        if !number.is_valid() {
            return Err(AuthError::InvalidPhone);
        }
        Ok(Self(number.format().to_string()))
    }

    /// Reads the table of the world's numbering plans, which takes long enough to be felt by the
    /// first request.
    pub fn warm_up() {
        // Only the side effect matters: parsing a number loads the table.
        let _ = Self::parse("+919812345678");
    }

    /// E.164.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The prefix that neighbouring numbers share: all but the last four digits.
    pub fn prefix(&self) -> &str {
        &self.0[..self.0.len() - 4]
    }

    /// The last two digits, which are all that a log may contain.
    pub fn last_two_digits(&self) -> &str {
        &self.0[self.0.len() - 2..]
    }
}

/// The library reads letters, extensions and `tel:` too; E.164 has none of them.
fn is_phone_character(character: char) -> bool {
    character.is_ascii_digit() || " +-.()".contains(character)
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Phone(..{})", self.last_two_digits())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_way_of_writing_a_number_is_one_phone() {
        for text in [
            "+919812345678",
            " +91 98123 45678",
            "+91-98123-45678",
            "+91 (98123) 45678",
        ] {
            let phone = PhoneNumber::parse(text).expect(text);
            assert_eq!(phone.as_str(), "+919812345678", "{text}");
        }
    }

    #[test]
    fn an_invalid_number_is_refused() {
        for text in [
            "",
            "+",
            "abc",
            "12345",
            "+12345",
            "9812345678",
            "919812345678",
            "+91981234567",
            "+9198123456789",
            "+999123456789",
            "+0000000000",
            "+1800FLOWERS",
            "+919812345678 ext 5",
            "tel:+919812345678",
            "+91+9812345678",
            "+919812345678+919812345678+919812345678",
            "＋９１９８１２３４５６７８",
        ] {
            assert!(PhoneNumber::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        /// E.164 is a person's identity here: one number must not become two.
        #[test]
        fn a_parsed_number_parses_as_itself(text in "\\+[0-9 ().-]{6,18}") {
            if let Ok(phone) = PhoneNumber::parse(&text) {
                prop_assert!(phone.as_str().len() <= "+123456789012345".len());
                prop_assert_eq!(&PhoneNumber::parse(phone.as_str()).expect("valid"), &phone);
            }
        }
    }

    #[test]
    fn debug_output_hides_the_number() {
        let phone = PhoneNumber::parse("+919812345678").expect("valid");
        assert_eq!(format!("{phone:?}"), "Phone(..78)");
    }
}
