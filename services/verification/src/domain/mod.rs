//! Samples, their states, and what they make of a listener.

pub mod address;
mod audio;
mod error;

use chrono::{DateTime, Utc};
use talktime_kit::text;

pub use audio::{
    AUDIO_BYTES_MAX, AUDIO_PREFIX, AudioKind, HEAD_BYTES, Ticket, UPLOAD_PREFIX, audio_key,
    check_duration,
};
pub use error::VerificationError;

/// Characters of a description or of a reviewer's notes, at most.
pub const TEXT_CHARS_MAX: usize = 500;

/// A description or a reviewer's notes, normalized; an empty text is none. `field` is its name on the
/// wire.
pub fn normalize_text(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, VerificationError> {
    text.filter(|text| !text.trim().is_empty())
        .map(|text| text::normalize_paragraphs(&text, TEXT_CHARS_MAX))
        .transpose()
        .map_err(|error| VerificationError::InvalidText { field, error })
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, Eq, PartialEq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    /// Waits for its review.
    Pending,
    /// The listener is verified.
    Approved,
    /// The listener may send another.
    Rejected,
}

/// What an admin decides.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action {
    /// The listener is verified from now on.
    Approve,
    /// They are not by this sample.
    Reject,
}

impl Action {
    /// By its name on the wire.
    pub fn parse(name: &str) -> Result<Self, VerificationError> {
        match name {
            "approve" => Ok(Self::Approve),
            "reject" => Ok(Self::Reject),
            _ => Err(VerificationError::InvalidAction),
        }
    }

    /// What becomes of the sample.
    pub fn state(self) -> State {
        match self {
            Self::Approve => State::Approved,
            Self::Reject => State::Rejected,
        }
    }
}

impl State {
    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// Where a sample's audio is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Audio {
    /// The key of an object in our bucket.
    Object(String),
    /// Somebody else's address.
    Address(String),
}

impl Audio {
    /// Reads the column `audio_url`.
    pub fn stored(text: String) -> Self {
        if text.starts_with("https://") {
            Self::Address(text)
        } else {
            Self::Object(text)
        }
    }
}

/// A sample that a listener sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sample {
    /// Its id.
    pub verification_id: i64,
    /// Whose it is.
    pub user_id: i64,
    /// Where it is.
    pub audio: Audio,
    /// What became of it.
    pub state: State,
    /// When it came.
    pub submitted_at: DateTime<Utc>,
    /// When it was reviewed.
    pub reviewed_at: Option<DateTime<Utc>>,
    /// Who reviewed it.
    pub reviewer_id: Option<i64>,
    /// What the reviewer has to say.
    pub reviewer_notes: Option<String>,
    /// What the listener has to say.
    pub description: Option<String>,
}

/// What a listener's samples have made of them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// How many samples.
    pub count: i64,
    /// Whether one was approved and the approval was not revoked. A newer sample that waits or fails
    /// takes nothing away.
    pub is_verified: bool,
    /// The newest.
    pub newest: Option<Sample>,
}

impl Standing {
    /// Its name on the wire: the newest sample's state, unless its approval holds no more.
    pub fn name(&self) -> &'static str {
        match &self.newest {
            None => "not_submitted",
            Some(sample) if sample.state == State::Approved && !self.is_verified => "revoked",
            Some(sample) => sample.state.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sent_nothing_is_told_so() {
        let standing = Standing::default();
        assert_eq!(standing.name(), "not_submitted");
        assert!(!standing.is_verified);
    }

    #[test]
    fn a_text_is_refused_for_what_is_wrong_with_it() {
        let normalize = |text: &str| normalize_text("description", Some(text.to_owned()));
        assert_eq!(normalize(" \n").expect("none"), None);
        assert_eq!(
            normalize("मेरी\nआवाज़").expect("text").as_deref(),
            Some("मेरी\nआवाज\u{93C}")
        );
        for (text, code, why) in [
            ("x".repeat(501), "text_too_long", "at most 500 characters"),
            ("nul\0".to_owned(), "invalid_text", "control characters"),
            ("\u{202E}eciov".to_owned(), "invalid_text", "direction"),
        ] {
            let refused = talktime_kit::Error::from(normalize(&text).expect_err("refused"));
            assert_eq!(refused.code(), code);
            assert!(refused.detail().contains(why), "{}", refused.detail());
        }
    }

    #[test]
    fn an_address_is_told_from_a_key() {
        let address = "https://cdn.example/a.mp3".to_owned();
        assert_eq!(Audio::stored(address.clone()), Audio::Address(address));
        let key = "verification-audio/7/1700000000_ab.mp3".to_owned();
        assert_eq!(Audio::stored(key.clone()), Audio::Object(key));
    }
}
