//! Rules of a profile's fields (contract, section 2, "Field rules").

use http::Uri;
use talktime_kit::text;

use super::ProfileError;

pub const USERNAME_CHARACTERS_MIN: usize = 3;
pub const USERNAME_CHARACTERS_MAX: usize = 50;
pub const BIO_CHARACTERS_MAX: usize = 500;
pub const INTERESTS_MAX: usize = 10;
pub const INTEREST_CHARACTERS_MAX: usize = 50;
pub const COUNTRY_CHARACTERS_MAX: usize = 100;
pub const RATING_HUNDREDTHS_MAX: i32 = 500;
const URL_BYTES_MAX: usize = 2_048;
const LANGUAGE_BYTES_MAX: usize = 35;
const REGISTRATION_ID_BYTES_MAX: usize = 100;

/// Returns the error unless the rule holds.
fn require(holds: bool, error: ProfileError) -> Result<(), ProfileError> {
    if holds { Ok(()) } else { Err(error) }
}

/// Checks a user name: letters, digits and underscores, of ASCII only, because letters that look alike would make
/// two users look alike.
pub fn check_username(username: &str) -> Result<(), ProfileError> {
    let length = USERNAME_CHARACTERS_MIN..=USERNAME_CHARACTERS_MAX;
    require(
        length.contains(&username.len()) && username.chars().all(is_username_character),
        ProfileError::InvalidUsername,
    )
}

fn is_username_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_'
}

/// Normalizes the beginning of a user name, for a search. A blank one searches for nothing.
pub fn normalize_username_prefix(prefix: &str) -> Result<Option<String>, ProfileError> {
    let prefix = prefix.trim();
    require(
        prefix.len() <= USERNAME_CHARACTERS_MAX && prefix.chars().all(is_username_character),
        ProfileError::InvalidSearch,
    )?;
    Ok(Some(prefix.to_ascii_lowercase()).filter(|prefix| !prefix.is_empty()))
}

/// Checks a phone number in the form E.164: a plus sign and eight to fifteen digits, the first of them not zero.
pub fn check_phone(phone: &str) -> Result<(), ProfileError> {
    let is_e164 = phone.strip_prefix('+').is_some_and(|digits| {
        (8..=15).contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit())
            && !digits.starts_with('0')
    });
    require(is_e164, ProfileError::InvalidPhone)
}

/// Normalizes a bio, which is a text of several lines.
pub fn normalize_bio(bio: &str) -> Result<String, ProfileError> {
    text::normalize_paragraphs(bio, BIO_CHARACTERS_MAX).map_err(ProfileError::InvalidBio)
}

/// Normalizes a short list of interests in any script.
pub fn normalize_interests(interests: &[String]) -> Result<Vec<String>, ProfileError> {
    require(
        interests.len() <= INTERESTS_MAX,
        ProfileError::InvalidInterests,
    )?;
    let normal = interests
        .iter()
        .map(|interest| text::normalize_words(interest, INTEREST_CHARACTERS_MAX));
    normal
        .collect::<Result<_, _>>()
        .map_err(|_| ProfileError::InvalidInterests)
}

/// Checks the address of an image: http or https, with a host, and without invisible characters.
pub fn check_image_url(url: &str) -> Result<(), ProfileError> {
    let is_web = url.parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.host().is_some_and(|host| !host.is_empty())
    });
    let is_visible = text::normalize_line(url, URL_BYTES_MAX).is_ok();
    require(
        is_web && is_visible && url.len() <= URL_BYTES_MAX,
        ProfileError::InvalidImageUrl,
    )
}

/// Checks the form of a language tag (RFC 5646): a language of two or three letters and further subtags.
pub fn check_language(language: &str) -> Result<(), ProfileError> {
    let mut parts = language.split('-');
    let is_language = parts.next().is_some_and(|first| {
        (2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic())
    });
    let is_tag = parts.all(|part| {
        (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    require(
        is_language && is_tag && language.len() <= LANGUAGE_BYTES_MAX,
        ProfileError::InvalidLanguage,
    )
}

/// Normalizes a country, which is a name or a code as the app writes it.
pub fn normalize_country(country: &str) -> Result<String, ProfileError> {
    text::normalize_line(country, COUNTRY_CHARACTERS_MAX).map_err(ProfileError::InvalidCountry)
}

/// Checks a rating of zero to five stars, in hundredths.
pub fn check_rating(rating_hundredths: i32) -> Result<(), ProfileError> {
    require(
        (0..=RATING_HUNDREDTHS_MAX).contains(&rating_hundredths),
        ProfileError::InvalidRating,
    )
}

/// Checks the id that the caller chose for its registration.
pub fn check_registration_id(registration_id: &str) -> Result<(), ProfileError> {
    require(
        (1..=REGISTRATION_ID_BYTES_MAX).contains(&registration_id.len())
            && registration_id.bytes().all(|b| b.is_ascii_graphic()),
        ProfileError::InvalidRegistrationId,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_rule(check: impl Fn(&str) -> Result<(), ProfileError>, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(check(text).is_ok(), "{text:?} is allowed");
        }
        for text in bad {
            assert!(check(text).is_err(), "{text:?} is not allowed");
        }
    }

    #[test]
    fn usernames_have_three_to_fifty_ascii_letters_digits_or_underscores() {
        let (longest, too_long) = ("a".repeat(50), "a".repeat(51));
        assert_rule(
            check_username,
            &["abc", "Asha_99", "___", &longest],
            &["", "ab", &too_long, "asha!", "asha rao", "ashá", "a-b-c"],
        );
    }

    #[test]
    fn searches_are_the_beginning_of_a_username_in_any_case() {
        let search = |prefix: &str| normalize_username_prefix(prefix).ok();
        assert_eq!(search(" Asha_9 "), Some(Some("asha_9".to_owned())));
        assert_eq!(search(" "), Some(None));
        for wrong in ["a%", "a b", "é", &"a".repeat(51)] {
            assert_eq!(search(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn phones_are_in_the_form_e164() {
        assert_rule(
            check_phone,
            &["+919876543210", "+12345678", "+123456789012345"],
            &[
                "919876543210",
                "+1234567",
                "+1234567890123456",
                "+0919876543210",
                "+91 98765 43210",
                "+",
                "",
            ],
        );
    }

    #[test]
    fn bios_have_bounded_length_and_only_visible_characters() {
        let (longest, too_long) = ("ü".repeat(500), "ü".repeat(501));
        assert_rule(
            |bio| normalize_bio(bio).map(drop),
            &["", "Two\nlines, and a 🙂", &longest],
            &[&too_long, "nul\0", "zero\u{200B}width"],
        );
        let reason = |bio: &str| normalize_bio(bio).expect_err("refused").to_string();
        assert!(reason("nul\0").contains("invisible characters"));
        assert!(reason(&too_long).contains("at most 500 characters"));
    }

    #[test]
    fn interests_are_a_few_short_words_in_any_script() {
        let (longest, too_long) = ("x".repeat(50), "x".repeat(51));
        let normalize_one = |interest: &str| normalize_interests(&[interest.to_owned()]);
        assert_rule(
            |interest| normalize_one(interest).map(drop),
            &[
                "music",
                "Sci-Fi movies 2",
                "संगीत",
                "क्रिकेट",
                "தமிழ்",
                &longest,
            ],
            &[
                "",
                "   ",
                "rock&roll",
                "tab\tbed",
                "mu\u{200B}sic",
                &too_long,
            ],
        );
        assert_eq!(
            normalize_one(" cafe\u{301} ").expect("allowed"),
            ["caf\u{E9}"]
        );
        assert!(normalize_interests(&vec!["music".to_owned(); 10]).is_ok());
        assert!(normalize_interests(&vec!["music".to_owned(); 11]).is_err());
    }

    #[test]
    fn image_urls_are_visible_http_addresses() {
        let too_long = format!("https://example.com/{}", "x".repeat(URL_BYTES_MAX));
        assert_rule(
            check_image_url,
            &["https://example.com/a.png", "http://example.com:8080/a?b=c"],
            &[
                "",
                "example.com/a.png",
                "ftp://example.com/a",
                "javascript:alert(1)",
                "https://",
                "https://exa mple.com",
                "https://example.com/a\u{202E}gnp.exe",
                &too_long,
            ],
        );
    }

    #[test]
    fn languages_are_tags_and_countries_are_short_lines() {
        assert_rule(
            check_language,
            &["en", "hi", "kok", "en-IN", "zh-Hant-TW"],
            &["", "e", "english", "en_IN", "en-", "h1"],
        );
        let too_long = "x".repeat(101);
        assert_rule(
            |country| normalize_country(country).map(drop),
            &["IN", "Côte d'Ivoire", "भारत"],
            &["", " ", "I\0N", "\u{202E}NI", &too_long],
        );
    }

    #[test]
    fn ratings_and_registration_ids_are_bounded() {
        for (rating, allowed) in [
            (-1, false),
            (0, true),
            (435, true),
            (500, true),
            (501, false),
        ] {
            assert_eq!(check_rating(rating).is_ok(), allowed, "{rating}");
        }
        let too_long = "x".repeat(101);
        assert_rule(
            check_registration_id,
            &["0190-abc"],
            &["", "a b", &too_long],
        );
    }
}
