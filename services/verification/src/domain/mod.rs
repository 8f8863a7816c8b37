//! Samples, their states, and what they make of a listener.

use chrono::{DateTime, Utc};
use talktime_kit::{Error, Kind};

/// Why something about verification is refused.
#[derive(Debug, thiserror::Error)]
pub enum VerificationError {
    /// Only listeners are verified.
    #[error("Only listeners can be verified.")]
    NotAListener,
    /// Not a refusal: a part failed.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<VerificationError> for Error {
    fn from(error: VerificationError) -> Self {
        match error {
            VerificationError::NotAListener => {
                Self::new(Kind::PermissionDenied, "listener_only", error.to_string())
            }
            VerificationError::Other(error) => error,
        }
    }
}

impl From<sqlx::Error> for VerificationError {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
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
    /// Where it is.
    pub audio: Audio,
    /// What became of it.
    pub state: State,
    /// When it came.
    pub submitted_at: DateTime<Utc>,
    /// When it was reviewed.
    pub reviewed_at: Option<DateTime<Utc>>,
    /// What the reviewer has to say.
    pub reviewer_notes: Option<String>,
}

/// Everything that a listener has sent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Standing {
    /// How many samples.
    pub count: i64,
    /// Whether any of them was approved.
    pub has_approval: bool,
    /// The newest.
    pub newest: Option<Sample>,
}

impl Standing {
    /// Its name on the wire: the newest sample's state.
    pub fn name(&self) -> &'static str {
        self.newest
            .as_ref()
            .map_or("not_submitted", |sample| sample.state.name())
    }

    /// Once approved stays approved: a newer sample that waits or fails takes nothing away.
    pub fn is_verified(&self) -> bool {
        self.has_approval
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sent_nothing_is_told_so() {
        let standing = Standing::default();
        assert_eq!(standing.name(), "not_submitted");
        assert!(!standing.is_verified());
    }

    #[test]
    fn an_address_is_told_from_a_key() {
        let address = "https://cdn.example/a.mp3".to_owned();
        assert_eq!(Audio::stored(address.clone()), Audio::Address(address));
        let key = "verification-audio/7/1700000000_ab.mp3".to_owned();
        assert_eq!(Audio::stored(key.clone()), Audio::Object(key));
    }
}
