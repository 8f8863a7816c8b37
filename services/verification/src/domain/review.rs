//! Reviews of samples and photos by admins.

use super::VerificationError;

/// The state of a sample or a photo.
#[derive(Clone, Copy, Debug, Eq, PartialEq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum ReviewState {
    Pending,
    Approved,
    Rejected,
}

impl ReviewState {
    /// Returns the name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Rejected => "rejected",
        }
    }
}

/// An admin's decision on a sample or a photo.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReviewAction {
    Approve,
    Reject,
}

impl ReviewAction {
    /// Parses the name on the wire.
    pub fn parse(name: &str) -> Result<Self, VerificationError> {
        match name {
            "approve" => Ok(Self::Approve),
            "reject" => Ok(Self::Reject),
            _ => Err(VerificationError::InvalidAction),
        }
    }

    /// Returns the state after this decision.
    pub fn resulting_state(self) -> ReviewState {
        match self {
            Self::Approve => ReviewState::Approved,
            Self::Reject => ReviewState::Rejected,
        }
    }

    /// Returns whether a photo in this state can be decided so. An approved photo can still be rejected, since
    /// complaints about it arrive after it was published.
    pub fn applies_to_photo(self, state: ReviewState) -> bool {
        match self {
            Self::Approve => state == ReviewState::Pending,
            Self::Reject => state != ReviewState::Rejected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_approved_photo_can_be_rejected_but_not_approved_again() {
        use ReviewState::{Approved, Pending, Rejected};
        for (action, states) in [
            (ReviewAction::Approve, vec![Pending]),
            (ReviewAction::Reject, vec![Pending, Approved]),
        ] {
            for state in [Pending, Approved, Rejected] {
                let applies = action.applies_to_photo(state);
                assert_eq!(applies, states.contains(&state), "{action:?} {state:?}");
            }
        }
    }
}
