//! The status of a withdrawal.

use talktime_kit::text_enum;

/// The status of a withdrawal, which only moves forward.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WithdrawalStatus {
    /// Requested; the sum is held.
    Pending,
    /// An operator is paying it out.
    Processing,
    /// The bank has it.
    Paid,
    /// The sum was returned to the listener.
    Rejected,
}

text_enum!(WithdrawalStatus {
    Pending => "pending",
    Processing => "processing",
    Paid => "paid",
    Rejected => "rejected",
});

impl WithdrawalStatus {
    /// Whether no further decision is possible.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Paid | Self::Rejected)
    }

    pub(super) fn can_become(self, next: Self) -> bool {
        match self {
            Self::Pending => next != Self::Pending,
            Self::Processing => matches!(next, Self::Paid | Self::Rejected),
            Self::Paid | Self::Rejected => false,
        }
    }
}
