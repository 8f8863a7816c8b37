//! Values that are one of a few names: what they are called in the document. Inside they are the
//! services' own, or text that a service checks.

use utoipa::ToSchema;

/// Sex of a person.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Sex {
    /// Male.
    Male,
    /// Female.
    Female,
    /// Other.
    Other,
}

/// What a person may do.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Role {
    /// Makes calls.
    User,
    /// Takes calls.
    Listener,
    /// Reviews and repairs.
    Admin,
}

/// A role that one may register with.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RegistrationRole {
    /// Makes calls.
    User,
    /// Takes calls.
    Listener,
}

/// How to keep somebody away.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum BlockAction {
    /// Keep away.
    Block,
    /// Keep away, and tell us.
    Report,
}

/// Kind of a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallType {
    /// Voice.
    Audio,
    /// Voice and picture.
    Video,
}

/// Standing of a listener, from the lowest.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum BadgeName {
    /// Everybody's.
    Basic,
    /// The first.
    Bronze,
    /// The second.
    Silver,
    /// The highest.
    Gold,
}

/// Where a call stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallStatus {
    /// On.
    Ongoing,
    /// Ended in good order.
    Completed,
    /// Broke off.
    Dropped,
    /// Given up.
    Cancelled,
}

/// Why a call ends.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum EndReason {
    /// In good order.
    Completed,
    /// Broke off.
    Dropped,
    /// Given up.
    Cancelled,
    /// Out of coins.
    CoinEmpty,
    /// The same as `completed`.
    UserEnded,
    /// The same as `dropped`.
    TechnicalIssue,
}

/// How coins are paid for.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum PaymentMethod {
    /// Unified Payments Interface.
    Upi,
    /// A card.
    Card,
    /// A wallet at the payment provider.
    Wallet,
}

/// Why coins or rupees moved.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum TxType {
    /// Coins were bought.
    Purchase,
    /// Coins were spent on a minute.
    Spend,
    /// Rupees were earned with a call.
    Earn,
    /// Coins were given.
    Bonus,
    /// Coins were given for bringing somebody.
    ReferralBonus,
    /// Rupees were asked for, or came back.
    Withdraw,
    /// A minute or a payment was taken back.
    Refund,
}

/// How coins may be added.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum AddedTxType {
    /// Bought.
    Purchase,
    /// Given.
    Bonus,
    /// Given for bringing somebody.
    ReferralBonus,
}

/// Where a withdrawal stands.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum WithdrawalStatus {
    /// Asked for; the sum is held.
    Pending,
    /// Being paid out.
    Processing,
    /// Paid out.
    Paid,
    /// Came back.
    Rejected,
}

/// What an admin makes of a withdrawal.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum DecidedStatus {
    /// Being paid out.
    Processing,
    /// Paid out.
    Paid,
    /// Comes back.
    Rejected,
}

/// What was done about somebody.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum BlockChange {
    /// Kept away.
    Block,
    /// Kept away, and we were told.
    Report,
    /// No longer kept away.
    Unblock,
}

/// What somebody did with a listener on their list.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum FavoriteAction {
    /// Put on the list.
    Added,
    /// Taken from the list.
    Removed,
}

/// What became of a verification.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ReviewStatus {
    /// The sample is good.
    Approved,
    /// The sample is not.
    Rejected,
    /// It holds no more.
    Revoked,
}

/// Why a payment was taken back.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ReversalReason {
    /// We gave it back.
    Refund,
    /// The payer's bank took it back.
    Chargeback,
}

/// What is wrong with a socket, or with a message to it.
#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SocketError {
    /// The token is not good, or no longer. The socket closes.
    AuthFailed,
    /// The account has no access. The socket closes.
    PermissionDenied,
    /// The user has too many sockets. The socket closes.
    ConnectionLimit,
    /// The client sends too much. The socket closes.
    RateLimited,
    /// It is no message, or its data is not what its type needs.
    InvalidMessage,
    /// The channel knows no messages of this type.
    UnknownType,
    /// More people than a socket may choose.
    TooManyUserIds,
}
