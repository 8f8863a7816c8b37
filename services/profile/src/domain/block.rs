//! Blocks between users (contract, section 3).

use chrono::{DateTime, Utc};
use sqlx::FromRow;
use talktime_kit::text;

use super::ProfileError;

const REASON_CHARACTERS_MAX: usize = 500;

/// The kind of a block. Both kinds have the same effect; a report is also read by an operator.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BlockAction {
    Block,
    Report,
}

/// A block of one user by another.
#[derive(Clone, Debug)]
pub struct UserBlock {
    pub blocker_id: i64,
    pub blocked_id: i64,
    pub action: BlockAction,
    pub reason: Option<String>,
}

/// A blocked user as the one who blocked them sees them.
#[derive(Clone, Debug, FromRow)]
pub struct BlockedUser {
    pub user_id: i64,
    pub username: String,
    /// The name of a [`crate::domain::Sex`].
    pub sex: String,
    pub bio: Option<String>,
    pub profile_image_url: Option<String>,
    /// The name of a [`BlockAction`].
    pub action_type: String,
    pub reason: Option<String>,
    pub blocked_at: DateTime<Utc>,
}

impl BlockAction {
    /// Parses the name of an action; an empty name means a block.
    pub fn parse(name: &str) -> Result<Self, ProfileError> {
        match name {
            "" | "block" => Ok(Self::Block),
            "report" => Ok(Self::Report),
            _ => Err(ProfileError::InvalidAction),
        }
    }

    /// The name on the wire and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::Report => "report",
        }
    }
}

/// Normalizes a reason, which is a text of several lines.
pub fn normalize_reason(reason: &str) -> Result<String, ProfileError> {
    text::normalize_paragraphs(reason, REASON_CHARACTERS_MAX).map_err(ProfileError::InvalidReason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_action_is_a_block_or_a_report() {
        let default = BlockAction::parse("").expect("the default");
        assert_eq!(default, BlockAction::Block);
        for action in [BlockAction::Block, BlockAction::Report] {
            assert_eq!(BlockAction::parse(action.name()).expect("known"), action);
        }
        for name in ["Block", "unblock", "mute"] {
            assert!(BlockAction::parse(name).is_err(), "{name}");
        }
    }

    #[test]
    fn a_reason_has_bounded_length_and_only_visible_characters() {
        assert!(normalize_reason("rude\nand loud").is_ok());
        assert!(normalize_reason(&"ß".repeat(REASON_CHARACTERS_MAX)).is_ok());
        for (wrong, reason) in [
            ("x".repeat(REASON_CHARACTERS_MAX + 1), "at most 500"),
            ("nul\0".to_owned(), "invisible"),
            ("\u{202E}edur".to_owned(), "direction"),
        ] {
            let refused = normalize_reason(&wrong).expect_err("refused").to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }
}
