//! How one keeps somebody away (contract, section 3).

use talktime_kit::text;

use super::ProfileError;

const REASON_CHARACTERS_MAX: usize = 500;

/// A way to keep somebody away. Both have the same effect; a report is also read by a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// Out of sight.
    Block,
    /// Out of sight, and told to us.
    Report,
}

impl Action {
    /// The action of a name; who names none blocks.
    pub fn parse(name: &str) -> Result<Self, ProfileError> {
        match name {
            "" | "block" => Ok(Self::Block),
            "report" => Ok(Self::Report),
            _ => Err(ProfileError::InvalidAction),
        }
    }

    /// As on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Report => "report",
        }
    }
}

/// Text of several lines, normalized.
pub fn normalize_reason(reason: &str) -> Result<String, ProfileError> {
    text::normalize_paragraphs(reason, REASON_CHARACTERS_MAX).map_err(ProfileError::InvalidReason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_one_of_two() {
        assert_eq!(Action::parse("").expect("the default"), Action::Block);
        for action in [Action::Block, Action::Report] {
            assert_eq!(Action::parse(action.name()).expect("known"), action);
        }
        for name in ["Block", "unblock", "mute"] {
            assert!(Action::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_reason_is_text_within_bounds() {
        assert!(normalize_reason("rude\nand loud").is_ok());
        assert!(normalize_reason(&"ß".repeat(REASON_CHARACTERS_MAX)).is_ok());
        for (wrong, why) in [
            ("x".repeat(REASON_CHARACTERS_MAX + 1), "at most 500"),
            ("nul\0".to_owned(), "invisible"),
            ("\u{202E}edur".to_owned(), "direction"),
        ] {
            let refused = normalize_reason(&wrong).expect_err("refused").to_string();
            assert!(refused.contains(why), "{refused}");
        }
    }
}
