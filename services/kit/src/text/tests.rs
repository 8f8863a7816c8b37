use proptest::prelude::*;

use super::*;

/// Words with virama, nukta, vowel signs and joiners, as people write them.
const WORDS: &[&str] = &[
    "music",
    "Sci-Fi movies 2",
    "क्रिकेट",
    "फ़िल्में",
    "हिन्दी",
    "संगीत",
    "தமிழ்",
    "ಕನ್ನಡ",
    "తెలుగు",
    "ਪੰਜਾਬੀ",
    "ગુજરાતી",
    "ଓଡ଼ିଆ",
    "اردو",
    "ไทย",
    "日本語",
    "한국어",
    "Tiếng Việt",
    "१२ भाव",
    // Joiners: Devanagari half form and explicit virama, Malayalam chillu, Sinhala conjunct, Bengali
    // ya-phalaa after ra, Kannada, Persian.
    "क्\u{200D}ष",
    "क्\u{200C}ष",
    "അവന്\u{200D}",
    "ශ්\u{200D}රී",
    "র\u{200D}্যাব",
    "ರ\u{200D}್ಯ",
    "می\u{200C}شود",
    "مُ\u{200C}ن",
];

/// Characters that are invisible, or that reorder the visible ones.
const INVISIBLE: &[char] = &[
    '\0',
    '\u{1B}',
    '\u{7F}',
    '\u{AD}',
    '\u{34F}',
    '\u{61C}',
    '\u{115F}',
    '\u{1160}',
    '\u{17B4}',
    '\u{200B}',
    '\u{200C}',
    '\u{200D}',
    '\u{200E}',
    '\u{200F}',
    '\u{202A}',
    '\u{202B}',
    '\u{202C}',
    '\u{202D}',
    '\u{202E}',
    '\u{2060}',
    '\u{2066}',
    '\u{2067}',
    '\u{2068}',
    '\u{2069}',
    '\u{206F}',
    '\u{2800}',
    '\u{3164}',
    '\u{FE00}',
    '\u{FE0F}',
    '\u{FEFF}',
    '\u{FFA0}',
    '\u{FFF9}',
    '\u{FFFE}',
    '\u{1D159}',
    '\u{E0001}',
    '\u{E0041}',
    '\u{E007F}',
    '\u{E0100}',
];

const EMOJI: &[&str] = &[
    "🙂",
    "❤️",
    "👨\u{200D}👩\u{200D}👧",
    "👩🏽\u{200D}💻",
    "🏳️\u{200D}🌈",
    "1️⃣",
    "🇮🇳",
    "🏴\u{E0067}\u{E0062}\u{E0073}\u{E0063}\u{E0074}\u{E007F}",
];

#[test]
fn words_of_every_script_are_accepted() {
    for words in WORDS {
        let normal = normalize_words(words, 50).unwrap_or_else(|e| panic!("{words:?} {e}"));
        assert!(normalize_line(words, 50).is_ok() && normalize_paragraphs(words, 50).is_ok());
        assert_eq!(normalize_words(&normal, 50).as_ref(), Ok(&normal));
    }
}

#[test]
fn equal_words_have_equal_bytes() {
    for (one, other) in [
        ("फ\u{93C}िल्में", "\u{95E}िल्में"),
        ("cafe\u{301}", "caf\u{E9}"),
        ("க\u{BC6}\u{BBE}", "க\u{BCA}"),
        ("  music ", "music"),
    ] {
        assert_eq!(
            normalize_words(one, 50),
            normalize_words(other, 50),
            "{one}"
        );
    }
}

#[test]
fn words_have_no_other_characters() {
    for words in [
        "rock&roll",
        "<b>",
        "a_b",
        "music 🙂",
        "a\u{A0}b",
        "1\u{FE0F}",
    ] {
        assert_eq!(
            normalize_words(words, 50),
            Err(TextError::NotWords),
            "{words:?}"
        );
    }
    for words in ["-", "- -", "\u{94D}"] {
        assert_eq!(
            normalize_words(words, 50),
            Err(TextError::NotWords),
            "{words:?}"
        );
    }
    assert_eq!(normalize_words(" ", 50), Err(TextError::Empty));
    assert_eq!(normalize_words("tab\tbed", 50), Err(TextError::Invisible));
}

#[test]
fn invisible_characters_are_refused_everywhere() {
    for c in INVISIBLE {
        for text in [
            format!("{c}"),
            format!("a{c}"),
            format!("{c}a"),
            format!("a{c}b"),
            format!("a {c} b"),
        ] {
            for refused in [
                normalize_paragraphs(&text, 50),
                normalize_line(&text, 50),
                normalize_words(&text, 50),
            ] {
                assert_eq!(
                    refused,
                    Err(TextError::Invisible),
                    "U+{:04X} in {text:?}",
                    u32::from(*c)
                );
            }
            assert!(!visible_line(&text, 50).contains(*c), "{text:?}");
        }
    }
}

#[test]
fn joiners_and_tags_are_accepted_only_where_they_shape_something() {
    for text in [
        "क्\u{200D}\u{200D}ष",
        "क \u{200C}ष",
        "🙂\u{200C}🙂",
        "🙂\u{200D}a",
        "a\u{200D}🙂",
        "🙂\u{FE0F}\u{FE0F}",
        "न\u{FE0F}",
        "🙂\u{E0067}\u{E007F}",
        "🏴\u{E0067}\u{E0062}",
        "🏴\u{E0067}\u{E007F}\u{E0067}\u{E007F}",
        "🏴\u{E0067}\u{E0067}\u{E0067}\u{E0067}\u{E0067}\u{E0067}\u{E0067}\u{E0067}\u{E0067}\u{E007F}",
    ] {
        assert_eq!(
            normalize_line(text, 50),
            Err(TextError::Invisible),
            "{text:?}"
        );
    }
}

#[test]
fn lines_and_paragraphs_hold_what_people_write() {
    for text in EMOJI
        .iter()
        .chain(&["葛\u{E0100}城", "ᠮᠣᠩ\u{180B}", "Côte d'Ivoire", "٣\u{600}"])
    {
        assert_eq!(normalize_line(text, 50).as_deref(), Ok(*text));
        assert_eq!(visible_line(text, 50), *text);
    }
    assert_eq!(
        normalize_paragraphs("Two\r\n\tlines", 50).as_deref(),
        Ok("Two\r\n\tlines")
    );
    assert_eq!(normalize_paragraphs("", 50).as_deref(), Ok(""));
    for text in ["two\nlines", "a\tb", "a\u{2028}b"] {
        assert_eq!(
            normalize_line(text, 50),
            Err(TextError::Invisible),
            "{text:?}"
        );
    }
    for text in ["", " ", "\n", "\u{A0}\u{3000}"] {
        assert_eq!(normalize_line(text, 50), Err(TextError::Empty), "{text:?}");
    }
}

#[test]
fn lengths_are_characters_after_normalization() {
    assert!(normalize_paragraphs(&"ü".repeat(500), 500).is_ok());
    assert!(normalize_paragraphs(&"u\u{308}".repeat(500), 500).is_ok());
    let too_long = Err(TextError::TooLong { max_chars: 500 });
    assert_eq!(normalize_paragraphs(&"x".repeat(501), 500), too_long);
    assert_eq!(normalize_line(&"\u{95E}".repeat(251), 500), too_long);
}

#[test]
fn a_visible_line_is_cut_and_has_no_breaks() {
    assert_eq!(
        visible_line("Talktime/1.0\r\n\0 (Pixel)", 200),
        "Talktime/1.0 (Pixel)"
    );
    assert_eq!(visible_line(&"x".repeat(9_000), 200).len(), 200);
    assert_eq!(visible_line("a\u{202E}b", 200), "ab");
}

/// Texts that are likely to hold what these rules are about.
fn texts() -> impl Strategy<Value = String> {
    let pieces = WORDS.iter().chain(EMOJI).map(|text| (*text).to_owned());
    let pieces: Vec<String> = pieces
        .chain(INVISIBLE.iter().map(char::to_string))
        .collect();
    let piece = prop_oneof![proptest::sample::select(pieces), "\\PC", ".", "[ \n\t-]"];
    proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn accepted_text_is_normalized_and_accepted_unchanged(text in texts()) {
        for rule in [normalize_paragraphs, normalize_line, normalize_words] {
            if let Ok(normal) = rule(&text, 100) {
                prop_assert!(ComposingNormalizer::new_nfc().is_normalized(&normal));
                prop_assert_eq!(rule(&normal, 100), Ok(normal.clone()));
                prop_assert!(normal.chars().count() <= 100);
                let is_invisible = normal.contains(['\0', '\u{202E}', '\u{200B}', '\u{FEFF}']);
                prop_assert!(!is_invisible);
            }
        }
    }

    #[test]
    fn words_are_lines_and_lines_are_paragraphs(text in texts()) {
        if let Ok(words) = normalize_words(&text, 100) {
            prop_assert_eq!(normalize_line(&text, 100), Ok(words));
        }
        if let Ok(line) = normalize_line(&text, 100) {
            prop_assert_eq!(normalize_paragraphs(text.trim(), 100), Ok(line));
        }
    }

    #[test]
    fn a_visible_line_is_a_line(text in texts()) {
        let line = visible_line(&text, 100);
        if !line.is_empty() {
            prop_assert_eq!(normalize_line(&line, 100), Ok(line.clone()));
        }
    }
}
