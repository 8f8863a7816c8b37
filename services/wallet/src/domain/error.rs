//! Refusals of the wallet and their reasons.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use talktime_kit::text::TextError;
use talktime_kit::{Error, ErrorKind};

use super::withdrawal_status::WithdrawalStatus;

/// A refusal or a failure of the wallet.
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
        call_id: i64,
        /// The missing minute, from 1.
        minute: i32,
    },
    /// The amount is not a step of the rate card.
    #[error("{amount_paise} paise is not on the rate card")]
    NotOnRateCard { amount_paise: i64 },
    /// No such payment method.
    #[error("unknown payment method")]
    UnknownPaymentMethod,
    /// No such type of transaction, or not in this list.
    #[error("unknown type of transaction")]
    UnknownTxType,
    /// The days of a summary are no range, or too many.
    #[error("invalid range of days")]
    InvalidDateRange,
    /// The provider does not vouch for the payment.
    #[error("payment is unknown to the provider")]
    Unpaid,
    /// The payment belongs to another order than the named one.
    #[error("the payment is for another purchase")]
    OtherPurchase,
    /// Another payment paid this order before.
    #[error("order {order_id} was paid by another payment")]
    OrderPaid { order_id: String },
    /// The provider has not captured the payment yet.
    #[error("the payment is not captured yet")]
    PaymentPending,
    /// The provider reports that the payment failed.
    #[error("the payment failed")]
    PaymentFailed,
    /// Amount or currency of the payment are not those of the order.
    #[error("the payment is not what the order costs")]
    PaymentMismatch,
    /// The money of the payment went back.
    #[error("the payment was refunded or charged back")]
    PaymentReversed,
    /// A notification is not signed by the provider.
    #[error("a message of the provider is not signed by it")]
    ForgedNotice,
    /// The provider did not execute a request.
    #[error("the payment provider did not answer as it should: {0}")]
    ProviderUnavailable(String),
    /// This installation has no such provider.
    #[error("no such payment provider here")]
    NoSuchProvider,
    /// A field of bank details is wrong.
    #[error("{0} is wrong")]
    InvalidBankDetails(&'static str),
    /// A name in bank details is not a line of text.
    #[error("{field} {error}")]
    InvalidBankName {
        /// Its name on the wire.
        field: &'static str,
        error: TextError,
    },
    /// Notes on a decision are too long, or not text.
    #[error("notes {0}")]
    InvalidNotes(TextError),
    /// The person has not set bank details.
    #[error("there are no bank details")]
    NoBankDetails,
    /// The requested sum exceeds the balance.
    #[error("{available_paise} paise may be withdrawn")]
    InsufficientMoney { available_paise: i64 },
    /// The requested sum contains earnings that cannot be withdrawn yet.
    #[error("{available_paise} paise may be withdrawn now; the rest is held")]
    EarningsHeld { available_paise: i64 },
    /// The requested sum is less than the operator pays out at once.
    #[error("the least is {minimum_paise} paise")]
    BelowMinimum { minimum_paise: i64 },
    /// The requested sum is more than the operator pays out in a day.
    #[error("the most in a day is {daily_paise} paise")]
    AboveDailyLimit { daily_paise: i64 },
    /// The admin has given as many coins as one may on a day.
    #[error("an admin may give {daily_coins} coins a day")]
    AboveBonusLimit { daily_coins: i64 },
    /// No such withdrawal.
    #[error("no such withdrawal")]
    NoSuchWithdrawal,
    /// No such state of a withdrawal.
    #[error("unknown state of a withdrawal")]
    UnknownWithdrawalStatus,
    /// It was decided otherwise, for good.
    #[error("the withdrawal is {} already", status.name())]
    WithdrawalDecided { status: WithdrawalStatus },
    /// Bank details were changed a short while ago.
    #[error("nothing is paid out before {until}")]
    PayoutDelayed { until: DateTime<Utc> },
    /// An admin decides about their own money.
    #[error("an admin cannot decide about their own withdrawal")]
    OwnWithdrawal,
    /// Nobody with this id has a wallet.
    #[error("no such user")]
    NoSuchUser,
    /// Bank details could not be sealed or opened: a key is missing, or the row is damaged.
    #[error("{0}")]
    Sealing(&'static str),
    /// A column that must have a value is empty.
    #[error("{column} is empty (key {key})")]
    MissingValue {
        /// Schema, table and column.
        column: &'static str,
        key: String,
    },
    /// A number that no honest caller sends.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// The store failed.
    #[error(transparent)]
    Other(#[from] Error),
}

impl From<sqlx::Error> for WalletError {
    fn from(error: sqlx::Error) -> Self {
        Self::Other(error.into())
    }
}

impl From<WalletError> for Error {
    fn from(error: WalletError) -> Self {
        if let WalletError::Other(error) = error {
            return error;
        }
        let (kind, code) = error.kind_and_code();
        Self::new(kind, code, error.detail()).with_source(error)
    }
}

impl WalletError {
    /// The kind, which determines the next step of a caller, and the stable code.
    fn kind_and_code(&self) -> (ErrorKind, &'static str) {
        use ErrorKind::{
            Conflict, Internal, InvalidArgument, NotFound, PaymentRequired, PermissionDenied,
            Unavailable,
        };
        match self {
            Self::TransferMismatch { .. } => (Conflict, "transfer_mismatch"),
            Self::MinuteNotCharged { .. } => (Conflict, "minute_not_charged"),
            Self::NotOnRateCard { .. } => (InvalidArgument, "amount_not_on_rate_card"),
            Self::UnknownPaymentMethod => (InvalidArgument, "invalid_payment_method"),
            Self::UnknownTxType => (InvalidArgument, "invalid_tx_type"),
            Self::InvalidDateRange => (InvalidArgument, "invalid_date_range"),
            Self::Unpaid => (PaymentRequired, "payment_not_found"),
            Self::OtherPurchase => (InvalidArgument, "payment_for_something_else"),
            Self::OrderPaid { .. } => (Conflict, "order_already_paid"),
            Self::PaymentPending => (PaymentRequired, "payment_pending"),
            Self::PaymentFailed => (PaymentRequired, "payment_failed"),
            Self::PaymentMismatch => (PaymentRequired, "payment_mismatch"),
            Self::PaymentReversed => (Conflict, "payment_reversed"),
            Self::ForgedNotice => (InvalidArgument, "invalid_signature"),
            Self::ProviderUnavailable(_) => (Unavailable, "payment_provider_unavailable"),
            Self::NoSuchProvider => (NotFound, "no_such_provider"),
            Self::InvalidBankDetails(_) | Self::InvalidBankName { .. } => {
                (InvalidArgument, "invalid_bank_details")
            }
            Self::NoBankDetails => (InvalidArgument, "no_bank_details"),
            Self::InsufficientMoney { .. } => (InvalidArgument, "insufficient_money"),
            Self::EarningsHeld { .. } => (InvalidArgument, "earnings_held"),
            Self::BelowMinimum { .. } => (InvalidArgument, "below_minimum"),
            Self::AboveDailyLimit { .. } => (InvalidArgument, "above_daily_limit"),
            Self::AboveBonusLimit { .. } => (InvalidArgument, "above_bonus_limit"),
            Self::NoSuchWithdrawal => (NotFound, "no_such_withdrawal"),
            Self::UnknownWithdrawalStatus => (InvalidArgument, "invalid_status"),
            Self::WithdrawalDecided { .. } => (Conflict, "withdrawal_decided"),
            Self::PayoutDelayed { .. } => (Conflict, "payout_delayed"),
            Self::OwnWithdrawal => (PermissionDenied, "own_withdrawal"),
            Self::NoSuchUser => (NotFound, "no_such_user"),
            Self::OutOfRange(_) | Self::InvalidNotes(TextError::TooLong { .. }) => {
                (InvalidArgument, "out_of_range")
            }
            Self::InvalidNotes(_) => (InvalidArgument, "invalid_text"),
            Self::Sealing(_) | Self::MissingValue { .. } | Self::Other(_) => (Internal, "internal"),
        }
    }

    /// A sentence that may be shown to a person.
    fn detail(&self) -> Cow<'static, str> {
        let detail = match self {
            Self::TransferMismatch { .. } => "This transfer id was used for something else.",
            Self::MinuteNotCharged { .. } => "A minute of this call has not been charged.",
            Self::NotOnRateCard { .. } => "This amount is not a step of the rate card.",
            Self::UnknownPaymentMethod => "payment_method must be upi, card or wallet.",
            Self::UnknownTxType => "tx_type is none that this list has.",
            Self::InvalidDateRange => {
                "from and to must be dates such as 2026-01-31, in this order, with at most 92 days."
            }
            Self::Unpaid => "The payment provider does not know this payment.",
            Self::OtherPurchase => "This payment is for something else.",
            Self::OrderPaid { .. } => "This order was paid by another payment.",
            Self::PaymentPending => {
                "The payment is not complete yet. The coins are added as soon as it is."
            }
            Self::PaymentFailed => "The payment failed; no money was taken.",
            Self::PaymentMismatch => {
                "The amount or the currency of the payment is not what the order costs."
            }
            Self::PaymentReversed => "The payment was refunded or charged back.",
            Self::ForgedNotice => "The signature is not the provider's.",
            Self::ProviderUnavailable(_) => "The payment provider does not answer; try again soon.",
            Self::NoSuchProvider => "There is no such payment provider here.",
            Self::NoBankDetails => "Tell us your bank details first.",
            Self::NoSuchWithdrawal => "There is no withdrawal with this id.",
            Self::UnknownWithdrawalStatus => {
                "status must be pending, processing, paid or rejected."
            }
            Self::OwnWithdrawal => "Another admin must decide about your own withdrawal.",
            Self::NoSuchUser => "There is no user with this id.",
            Self::OutOfRange(_) => "A number is out of range.",
            Self::Sealing(_) | Self::MissingValue { .. } | Self::Other(_) => {
                "Something went wrong on our side."
            }
            Self::InvalidBankDetails(field) => {
                return format!("{field} is not what a bank would take.").into();
            }
            Self::InvalidBankName { field, error } => return format!("{field} {error}.").into(),
            Self::InvalidNotes(error) => return format!("notes {error}.").into(),
            Self::InsufficientMoney { available_paise } => {
                return format!("You can withdraw {} rupees.", rupees(*available_paise)).into();
            }
            Self::EarningsHeld { available_paise } => {
                let available = rupees(*available_paise);
                return format!("You can withdraw {available} rupees now, and the rest later.")
                    .into();
            }
            Self::BelowMinimum { minimum_paise } => {
                return format!("The least is {} rupees.", rupees(*minimum_paise)).into();
            }
            Self::AboveDailyLimit { daily_paise } => {
                return format!("The most in a day is {} rupees.", rupees(*daily_paise)).into();
            }
            Self::AboveBonusLimit { daily_coins } => {
                return format!("An admin may give {daily_coins} coins a day.").into();
            }
            Self::WithdrawalDecided { status } => {
                return format!("This withdrawal is {} already.", status.name()).into();
            }
            Self::PayoutDelayed { until } => {
                return format!("The bank details are new; pay from {until:?} on.").into();
            }
        };
        detail.into()
    }
}

fn rupees(paise: i64) -> String {
    format!("{}.{:02}", paise / 100, paise % 100)
}
