//! Samples, their states, and what they make of a listener.

pub mod address;
mod audio;
mod error;

use chrono::{DateTime, Utc};

pub use audio::{
    AUDIO_BYTES_MAX, AUDIO_PREFIX, AudioKind, DURATION_MAX, HEAD_BYTES, Ticket, UPLOAD_PREFIX,
    audio_key, check_duration,
};
pub use error::VerificationError;

/// Characters of a description or of a reviewer's notes, at most.
pub const TEXT_CHARS_MAX: usize = 500;

/// Refuses a text that is too long; an empty one is none. `field` is its name on the wire.
pub fn check_text(
    field: &'static str,
    text: Option<String>,
) -> Result<Option<String>, VerificationError> {
    let text = text.filter(|text| !text.trim().is_empty());
    let is_too_long = |text: &String| text.chars().count() > TEXT_CHARS_MAX || text.contains('\0');
    if text.as_ref().is_some_and(is_too_long) {
        return Err(VerificationError::TextTooLong(field));
    }
    Ok(text)
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
    fn an_address_is_told_from_a_key() {
        let address = "https://cdn.example/a.mp3".to_owned();
        assert_eq!(Audio::stored(address.clone()), Audio::Address(address));
        let key = "verification-audio/7/1700000000_ab.mp3".to_owned();
        assert_eq!(Audio::stored(key.clone()), Audio::Object(key));
    }
}
