//! Texts that users write: names, biographies, comments, reasons.
//!
//! Every text field of a request passes one of these functions before it is stored. They refuse what a
//! reader cannot see, since it makes two different texts look the same, and what changes the order in
//! which characters are displayed, since it makes a text look like another one. They accept every
//! script, and answer the text in Unicode normalization form C, so that equal texts have equal bytes.
//!
//! The character properties are those of the Unicode Character Database, as `icu_properties` has them.

use icu_normalizer::ComposingNormalizer;
use icu_properties::props::{
    BinaryProperty, DefaultIgnorableCodePoint, Emoji, EmojiModifier, EnumeratedProperty,
    ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, Ideographic,
    IndicSyllabicCategory, JoinControl, JoiningType, NoncharacterCodePoint,
    PrependedConcatenationMark, VariationSelector,
};

const ZERO_WIDTH_JOINER: char = '\u{200D}';
/// Select the plain and the colourful form of an emoji.
const EMOJI_SELECTORS: [char; 2] = ['\u{FE0E}', '\u{FE0F}'];
/// Blank although their properties are those of a symbol: the empty pattern of Braille and the null
/// notehead.
const BLANK_SYMBOLS: [char; 2] = ['\u{2800}', '\u{1D159}'];
const BLACK_FLAG: char = '\u{1F3F4}';
const CANCEL_TAG: char = '\u{E007F}';
/// Longest code of a subdivision in a flag's tags (UTS #51, appendix B), and the tag that ends it.
const FLAG_TAGS_MAX: usize = 8;

/// Why a text is refused; completes a sentence that begins with the name of the field.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextError {
    /// Nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// More characters than the field has room for.
    #[error("must have at most {max_chars} characters")]
    TooLong {
        /// The most, in Unicode scalar values.
        max_chars: usize,
    },
    /// A control character, or one that is invisible or changes the direction of the text.
    #[error(
        "must not contain control characters, invisible characters or characters that change the \
         direction of text"
    )]
    Invisible,
    /// Something else than letters, digits, spaces and hyphens.
    #[error("must consist of letters, digits, spaces and hyphens")]
    NotWords,
}

/// Normalizes a text of several lines, such as a biography: line breaks and tabs are accepted. An empty
/// text is accepted; the text is not trimmed. `max_chars` counts after normalization.
pub fn normalize_paragraphs(text: &str, max_chars: usize) -> Result<String, TextError> {
    normalize(text, max_chars, char::is_whitespace)
}

/// Normalizes a text of one line, such as the name of a person: spaces around it are removed, and
/// something must be left. `max_chars` counts after normalization.
pub fn normalize_line(text: &str, max_chars: usize) -> Result<String, TextError> {
    let line = normalize(text.trim(), max_chars, is_space)?;
    if line.is_empty() {
        return Err(TextError::Empty);
    }
    Ok(line)
}

/// Normalizes words: letters and digits of any script with their marks, spaces and hyphens, at least one
/// letter or digit. Spaces around them are removed. `max_chars` counts after normalization.
pub fn normalize_words(text: &str, max_chars: usize) -> Result<String, TextError> {
    let words = normalize_line(text, max_chars)?;
    let is_allowed = |c: char| {
        is_letter_or_digit(c) || is_mark(c) || JoinControl::for_char(c) || matches!(c, ' ' | '-')
    };
    if words.chars().all(is_allowed) && words.chars().any(is_letter_or_digit) {
        Ok(words)
    } else {
        Err(TextError::NotWords)
    }
}

/// Returns the visible characters of a text, as one line cut to `max_chars`. It is for texts that programs
/// send, such as the name of a device, which no user could correct after a refusal.
pub fn visible_line(text: &str, max_chars: usize) -> String {
    let text: Vec<char> = text.chars().take(max_chars).collect();
    let is_visible = |at: &usize| is_acceptable(&text, *at, is_space);
    let visible: String = (0..text.len())
        .filter(is_visible)
        .map(|at| text[at])
        .collect();
    to_nfc(visible.trim(), max_chars)
}

fn to_nfc(text: &str, max_chars: usize) -> String {
    let normal = ComposingNormalizer::new_nfc().normalize(text);
    normal.chars().take(max_chars).collect()
}

fn normalize(
    text: &str,
    max_chars: usize,
    is_allowed_space: fn(char) -> bool,
) -> Result<String, TextError> {
    let normal = ComposingNormalizer::new_nfc().normalize(text);
    let chars: Vec<char> = normal.chars().take(max_chars + 1).collect();
    if chars.len() > max_chars {
        return Err(TextError::TooLong { max_chars });
    }
    if (0..chars.len()).all(|at| is_acceptable(&chars, at, is_allowed_space)) {
        Ok(normal.into_owned())
    } else {
        Err(TextError::Invisible)
    }
}

/// Whether the character at this place is visible, or one of those that shape their visible neighbours:
/// joiners in scripts that need them and in emoji, variation selectors, the tags of flags.
fn is_acceptable(text: &[char], at: usize, is_allowed_space: fn(char) -> bool) -> bool {
    let (before, c, after) = (&text[..at], text[at], &text[at + 1..]);
    if JoinControl::for_char(c) {
        return joins_letters(before) || joins_emoji(before, c, after);
    }
    if VariationSelector::for_char(c) {
        return selects_variant(before, c);
    }
    if is_tag(c) {
        return is_tag_of_flag(text, at);
    }
    is_allowed_space(c) || !(c.is_whitespace() || is_invisible(c))
}

/// Whether a joiner shapes what stands before it: the letter of a cursive or an Indic script, with its
/// marks. (The rules of UAX #31 for identifiers are stricter; they refuse Bengali ya-phalaa after ra.)
fn joins_letters(before: &[char]) -> bool {
    let mut letter_and_marks = before.iter().rev();
    letter_and_marks
        .find(|c| is_shaped(**c) || !is_mark(**c))
        .is_some_and(|c| is_shaped(*c))
}

/// Whether a joiner can change the shape of this character: a letter or a mark of a cursive or an Indic script.
fn is_shaped(c: char) -> bool {
    let is_cursive = matches!(
        JoiningType::for_char(c),
        JoiningType::DualJoining | JoiningType::LeftJoining | JoiningType::RightJoining
    );
    let is_indic = IndicSyllabicCategory::for_char(c) != IndicSyllabicCategory::Other;
    (is_cursive || is_indic) && (is_letter(c) || is_mark(c))
}

/// Whether a joiner makes one emoji of two, such as a family of its members.
fn joins_emoji(before: &[char], joiner: char, after: &[char]) -> bool {
    let ends_emoji = |c: &char| {
        ExtendedPictographic::for_char(*c)
            || EmojiModifier::for_char(*c)
            || EMOJI_SELECTORS.contains(c)
    };
    joiner == ZERO_WIDTH_JOINER
        && before.last().is_some_and(ends_emoji)
        && after
            .first()
            .is_some_and(|c| ExtendedPictographic::for_char(*c))
}

/// Whether a variation selector stands after what has variants: an emoji, an ideograph, a letter of a
/// script such as Mongolian.
fn selects_variant(before: &[char], selector: char) -> bool {
    before.last().is_some_and(|base| {
        if EMOJI_SELECTORS.contains(&selector) {
            Emoji::for_char(*base)
        } else {
            Ideographic::for_char(*base) || is_shaped(*base)
        }
    })
}

fn is_tag(c: char) -> bool {
    matches!(c, '\u{E0020}'..=CANCEL_TAG)
}

/// Whether a tag is part of the flag of a subdivision, such as that of Scotland: a black flag, the code
/// in tags, the tag that ends it.
fn is_tag_of_flag(text: &[char], at: usize) -> bool {
    let Some(flag) = text[..at].iter().rposition(|c| !is_tag(*c)) else {
        return false;
    };
    let tags = text[flag + 1..]
        .split_inclusive(|c| *c == CANCEL_TAG)
        .next();
    let tags = tags.unwrap_or_default();
    text[flag] == BLACK_FLAG
        && tags.len() <= FLAG_TAGS_MAX
        && tags.ends_with(&[CANCEL_TAG])
        && tags.iter().all(|c| is_tag(*c))
        && at <= flag + tags.len()
}

/// Whether nothing is displayed for a character, or the characters around it are displayed in another
/// order for it: control characters, format characters but those that are signs themselves, and letters
/// and symbols that are blank.
fn is_invisible(c: char) -> bool {
    let is_format = GeneralCategory::for_char(c) == GeneralCategory::Format
        && !PrependedConcatenationMark::for_char(c);
    c.is_control()
        || is_format
        || DefaultIgnorableCodePoint::for_char(c)
        || NoncharacterCodePoint::for_char(c)
        || BLANK_SYMBOLS.contains(&c)
}

/// White space within a line.
fn is_space(c: char) -> bool {
    GeneralCategory::for_char(c) == GeneralCategory::SpaceSeparator
}

fn is_letter(c: char) -> bool {
    GeneralCategoryGroup::Letter.contains(GeneralCategory::for_char(c))
}

fn is_letter_or_digit(c: char) -> bool {
    is_letter(c) || GeneralCategoryGroup::Number.contains(GeneralCategory::for_char(c))
}

/// An accent, a vowel sign, a virama, a nukta.
fn is_mark(c: char) -> bool {
    GeneralCategoryGroup::Mark.contains(GeneralCategory::for_char(c))
        && !VariationSelector::for_char(c)
}

#[cfg(test)]
mod tests;
