//! Finds phone numbers and addresses of payments or mail in texts that everybody reads.

/// Digits of a phone number without its country code. Years, dates and prices have fewer.
const PHONE_DIGITS_MIN: usize = 10;
/// Characters that people write between the digits of one number.
const DIGIT_SEPARATORS: [char; 8] = [' ', '-', '.', '(', ')', '/', '+', '_'];
/// The shortest name before, and host or bank behind, the sign of an address.
const ADDRESS_PART_CHARS_MIN: usize = 2;

/// Whether a text contains a phone number, in digits of any script, or an address such as `asha@bank`.
pub(super) fn has_contact_details(text: &str) -> bool {
    has_phone_number(text) || has_address(text)
}

fn has_phone_number(text: &str) -> bool {
    let mut digits = 0;
    text.chars().any(|c| {
        if c.is_numeric() {
            digits += 1;
        } else if !DIGIT_SEPARATORS.contains(&c) {
            digits = 0;
        }
        digits >= PHONE_DIGITS_MIN
    })
}

fn has_address(text: &str) -> bool {
    let signs = text.match_indices(['@', '\u{FF20}']);
    signs.into_iter().any(|(at, sign)| {
        let (before, after) = (&text[..at], &text[at + sign.len()..]);
        count_address_characters(before.chars().rev()) >= ADDRESS_PART_CHARS_MIN
            && count_address_characters(after.chars()) >= ADDRESS_PART_CHARS_MIN
    })
}

fn count_address_characters(characters: impl Iterator<Item = char>) -> usize {
    let is_address = |c: &char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
    characters.take_while(is_address).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_addresses_are_found_however_they_are_written() {
        for text in [
            "call 9876543210",
            "+91 98765-43210",
            "9.8.7.6.5.4.3.2.1.0",
            "नंबर ९८७६५४३२१०",
            "Asha_9876543210",
            "pay asha@okbank",
            "asha.rao@example.com",
            "asha＠okbank",
        ] {
            assert!(has_contact_details(text), "{text}");
        }
    }

    #[test]
    fn other_numbers_and_signs_are_no_contact_details() {
        for text in [
            "",
            "born 1999, 24x7, ₹1500",
            "Mon-Fri 10-18",
            "Asha_99",
            "see you @ the gym",
            "a@b",
            "1999-2004 in Delhi",
        ] {
            assert!(!has_contact_details(text), "{text}");
        }
    }
}
