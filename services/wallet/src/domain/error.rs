//! What the wallet refuses, and why.

use talktime_kit::{Error, Kind};

/// What the wallet refuses.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The id was used for something else.
    #[error("transfer {transfer_id} was made with other content")]
    TransferMismatch {
        /// The id that two requests share.
        transfer_id: String,
    },
    /// A settlement counts a minute that was never paid.
    #[error("minute {minute} of call {call_id} was not charged")]
    MinuteNotCharged {
        /// The call.
        call_id: i64,
        /// The missing minute, from 1.
        minute: i32,
    },
    /// The amount is not a step of the rate card.
    #[error("{amount_paise} paise is not on the rate card")]
    NotOnRateCard {
        /// What was to be paid.
        amount_paise: i64,
    },
    /// No such payment method.
    #[error("unknown payment method")]
    UnknownPaymentMethod,
    /// The provider does not vouch for the payment.
    #[error("payment is unknown to the provider")]
    Unpaid,
    /// A number that no honest caller sends.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<sqlx::Error> for WalletError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<WalletError> for Error {
    fn from(error: WalletError) -> Self {
        let (kind, code, detail) = match error {
            WalletError::Store(error) => return error,
            WalletError::TransferMismatch { .. } => (
                Kind::Conflict,
                "transfer_mismatch",
                "This transfer id was used for something else.",
            ),
            WalletError::MinuteNotCharged { .. } => (
                Kind::Conflict,
                "minute_not_charged",
                "A minute of this call has not been charged.",
            ),
            WalletError::NotOnRateCard { .. } => (
                Kind::InvalidArgument,
                "amount_not_on_rate_card",
                "This amount is not a step of the rate card.",
            ),
            WalletError::UnknownPaymentMethod => (
                Kind::InvalidArgument,
                "invalid_payment_method",
                "payment_method must be upi, card or wallet.",
            ),
            WalletError::Unpaid => (
                Kind::PaymentRequired,
                "payment_not_found",
                "The payment provider does not know this payment.",
            ),
            WalletError::OutOfRange(_) => (
                Kind::InvalidArgument,
                "out_of_range",
                "A number is out of range.",
            ),
        };
        Self::new(kind, code, detail).with_source(error)
    }
}
