//! How one keeps somebody away (contract, section 3).

use super::ProfileError;

pub(super) const REASON_CHARACTERS_MAX: usize = 500;

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

/// Text of several lines, not too long.
pub fn check_reason(reason: &str) -> Result<(), ProfileError> {
    let is_text = reason.chars().all(|c| !c.is_control() || c.is_whitespace());
    if is_text && reason.chars().count() <= REASON_CHARACTERS_MAX {
        Ok(())
    } else {
        Err(ProfileError::InvalidReason)
    }
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
        assert!(check_reason("rude\nand loud").is_ok());
        assert!(check_reason(&"ß".repeat(REASON_CHARACTERS_MAX)).is_ok());
        assert!(check_reason(&"x".repeat(REASON_CHARACTERS_MAX + 1)).is_err());
        assert!(check_reason("nul\0").is_err());
    }
}
