//! Numbers with at most two decimals: rupees and ratings in JSON.
//!
//! Services use integers for them: paise, or hundredths of a star. [`RawValue`] reads and writes the decimal text of
//! the JSON document unchanged, so no binary float is used for money (contract, section 1).

use std::borrow::Cow;

use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// A number in an answer, in hundredths: 1250 is `12.50`, 1200 is `12`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hundredths(pub i64);

impl Hundredths {
    /// Converts seconds to minutes, rounded to one decimal: 90 is `1.50`.
    pub fn from_seconds(seconds: i64) -> Self {
        let tenths = seconds.saturating_add(3) / 6;
        Self(tenths.saturating_mul(10))
    }

    /// Converts a rating. It is zero for a listener without ratings.
    pub fn from_rating(hundredths: Option<i32>) -> Self {
        Self(hundredths.unwrap_or_default().into())
    }

    fn text(self) -> String {
        let sign = if self.0 < 0 { "-" } else { "" };
        let (units, hundredths) = (self.0.unsigned_abs() / 100, self.0.unsigned_abs() % 100);
        if hundredths == 0 {
            format!("{sign}{units}")
        } else {
            format!("{sign}{units}.{hundredths:02}")
        }
    }
}

/// Returns the schema of both types.
fn decimal_schema() -> RefOr<Schema> {
    ObjectBuilder::new()
        .schema_type(Type::Number)
        .description(Some("A number with at most two decimals."))
        .into()
}

impl PartialSchema for Hundredths {
    fn schema() -> RefOr<Schema> {
        decimal_schema()
    }
}

impl ToSchema for Hundredths {
    fn name() -> Cow<'static, str> {
        "Hundredths".into()
    }
}

impl Serialize for Hundredths {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let number = RawValue::from_string(self.text()).map_err(S::Error::custom)?;
        number.serialize(serializer)
    }
}

/// A number in a request, stored as its text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DecimalNumber(String);

impl DecimalNumber {
    /// Parses a JSON number, such as a query parameter. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// Returns the exact value in hundredths, or `None` if it has more than two decimals or is too large.
    pub fn hundredths(&self) -> Option<i64> {
        let value = Decimal::from_str_exact(&self.0)
            .or_else(|_| Decimal::from_scientific(&self.0))
            .ok()?;
        let hundredths = value.checked_mul(Decimal::ONE_HUNDRED)?;
        hundredths
            .is_integer()
            .then(|| hundredths.to_i64())
            .flatten()
    }
}

impl PartialSchema for DecimalNumber {
    fn schema() -> RefOr<Schema> {
        decimal_schema()
    }
}

impl ToSchema for DecimalNumber {
    fn name() -> Cow<'static, str> {
        "Hundredths".into()
    }
}

impl<'de> Deserialize<'de> for DecimalNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        // The text is a valid JSON value, so one that begins like this is a number.
        if raw
            .get()
            .starts_with(|first: char| first == '-' || first.is_ascii_digit())
        {
            Ok(Self(raw.get().to_owned()))
        } else {
            Err(D::Error::custom("invalid type, expected a number"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_become_minutes_with_one_decimal() {
        for (seconds, text) in [
            (0, "0"),
            (2, "0"),
            (3, "0.10"),
            (90, "1.50"),
            (119, "2"),
            (3_600, "60"),
        ] {
            assert_eq!(Hundredths::from_seconds(seconds).text(), text, "{seconds}");
        }
    }

    fn serialize(hundredths: i64) -> String {
        serde_json::to_string(&Hundredths(hundredths)).expect("a number")
    }

    fn parse_hundredths(text: &str) -> Option<i64> {
        DecimalNumber::parse(text)?.hundredths()
    }

    #[test]
    fn paise_become_rupees_exactly() {
        assert_eq!(serialize(0), "0");
        assert_eq!(serialize(15_000), "150");
        assert_eq!(serialize(1), "0.01");
        assert_eq!(serialize(-5), "-0.05");
        assert_eq!(serialize(1_250), "12.50");
        assert_eq!(serialize(i64::MAX), "92233720368547758.07");
        assert_eq!(serialize(i64::MIN), "-92233720368547758.08");
    }

    #[test]
    fn rupees_become_paise_exactly() {
        assert_eq!(parse_hundredths("150"), Some(15_000));
        assert_eq!(parse_hundredths("150.0"), Some(15_000));
        assert_eq!(parse_hundredths("0.29"), Some(29));
        assert_eq!(parse_hundredths("1.15e1"), Some(1_150));
        assert_eq!(parse_hundredths("-3"), Some(-300));
        assert_eq!(parse_hundredths("92233720368547758.07"), Some(i64::MAX));
    }

    #[test]
    fn numbers_with_more_than_two_decimals_are_not_rounded() {
        for text in ["0.001", "150.009", "92233720368547758.08", "1e400", "1e-9"] {
            assert_eq!(parse_hundredths(text), None, "{text}");
        }
    }

    #[test]
    fn only_json_numbers_are_numbers() {
        for text in ["\"150\"", "null", "true", "1_000", "+1", ".5", "[1]", ""] {
            assert_eq!(DecimalNumber::parse(text), None, "{text}");
        }
    }
}
