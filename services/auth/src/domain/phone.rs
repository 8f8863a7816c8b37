//! Phone numbers as E.164, the one form that everything keys by.

use std::fmt;

use phonenumber::country;
use phonenumber::metadata::DATABASE;
use serde::Deserialize;

use super::AuthError;

/// Longest text that is parsed: E.164's 15 digits with a plus, spaces and brackets between them.
const TEXT_LENGTH_MAX: usize = 32;

/// The phone numbers that may log in: mobile numbers of some countries. Messages to other numbers do not arrive or cost
/// their sender much, which is why frauds request them: premium numbers, satellite phones, and countries without users.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct PhoneRules {
    /// The countries by their codes of ISO 3166, such as `IN`.
    pub allowed_countries: Vec<country::Id>,
}

impl Default for PhoneRules {
    fn default() -> Self {
        Self {
            allowed_countries: vec![country::Id::IN],
        }
    }
}

/// A phone number in E.164, such as `+919812345678`. Its debug output hides most of it.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct PhoneNumber(String);

impl PhoneNumber {
    /// Parses a number that a person typed, with its country code; spaces, hyphens, dots and brackets
    /// are fine. A number that its country does not assign is refused.
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        let number = parse_assigned(text)?;
        Ok(Self(number.format().to_string()))
    }

    /// Parses a number as [`PhoneNumber::parse`] does, and refuses one that may not log in.
    pub fn parse_allowed(text: &str, rules: &PhoneRules) -> Result<Self, AuthError> {
        let number = parse_assigned(text)?;
        let country = number.country().id();
        // The numbers of satellites and of worldwide services belong to no country.
        if !country.is_some_and(|country| rules.allowed_countries.contains(&country)) {
            return Err(AuthError::PhoneCountryRefused);
        }
        match number.number_type(&DATABASE) {
            // In some countries the number does not reveal which of the two it is.
            phonenumber::Type::Mobile | phonenumber::Type::FixedLineOrMobile => {
                Ok(Self(number.format().to_string()))
            }
            _ => Err(AuthError::PhoneNotMobile),
        }
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

/// Parses a number that its country assigns.
fn parse_assigned(text: &str) -> Result<phonenumber::PhoneNumber, AuthError> {
    if text.len() > TEXT_LENGTH_MAX || !text.chars().all(is_phone_character) {
        return Err(AuthError::InvalidPhone);
    }
    let number = phonenumber::parse(None, text.trim()).map_err(|_| AuthError::InvalidPhone)?;
    if number.is_valid() {
        Ok(number)
    } else {
        Err(AuthError::InvalidPhone)
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

    fn parse_by_default(text: &str) -> Result<PhoneNumber, AuthError> {
        PhoneNumber::parse_allowed(text, &PhoneRules::default())
    }

    #[test]
    fn numbers_of_other_countries_and_of_none_are_refused() {
        for (text, owner) in [
            ("+14155552671", "the United States"),
            ("+447400123456", "Great Britain"),
            ("+80012345678", "international freephone"),
            ("+870773111632", "a satellite phone"),
            ("+881612345678", "a satellite phone"),
            ("+979123456789", "international premium rate"),
        ] {
            let refused = parse_by_default(text);
            assert!(
                matches!(refused, Err(AuthError::PhoneCountryRefused)),
                "{text} of {owner}: {refused:?}"
            );
        }
    }

    #[test]
    fn numbers_that_are_not_mobile_are_refused() {
        for (text, kind) in [
            ("+911123456789", "a landline"),
            ("+911800123456", "toll-free"),
            ("+911861123456789", "premium rate"),
            ("+9118603451234", "shared cost"),
        ] {
            let refused = parse_by_default(text);
            assert!(
                matches!(refused, Err(AuthError::PhoneNotMobile)),
                "{text}, {kind}: {refused:?}"
            );
        }
    }

    #[test]
    fn an_operator_chooses_the_countries() {
        let rules = PhoneRules {
            allowed_countries: vec![country::Id::GB, country::Id::US],
        };
        for text in ["+447400123456", "+14155552671"] {
            assert!(PhoneNumber::parse_allowed(text, &rules).is_ok(), "{text}");
        }
        let refused = PhoneNumber::parse_allowed("+919812345678", &rules);
        assert!(matches!(refused, Err(AuthError::PhoneCountryRefused)));
    }

    proptest! {
        /// Tests and the demo sign up with such numbers.
        #[test]
        fn indian_numbers_with_a_nine_are_mobile(number in 0..1_000_000_000_u32) {
            let text = format!("+919{number:09}");
            let phone = parse_by_default(&text).expect("mobile");
            prop_assert_eq!(phone.as_str(), text);
        }

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
