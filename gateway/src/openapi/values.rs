//! The enumerations of the OpenAPI document. The services have types of their own for them, or check the text.

use utoipa::ToSchema;

/// The sex of a user.
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

/// A role of a user.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum Role {
    /// Makes calls.
    User,
    /// Takes calls.
    Listener,
    /// Reviews submissions and withdrawals, and operates the platform.
    Admin,
}

/// A role for the registration.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RegistrationRole {
    /// Makes calls.
    User,
    /// Takes calls.
    Listener,
}

/// The type of a block.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum BlockAction {
    /// The users no longer see or call each other.
    Block,
    /// A block that the operator reviews.
    Report,
}

/// The type of a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallType {
    /// Voice.
    Audio,
    /// Voice and picture.
    Video,
}

/// The badge of a listener, from the lowest to the highest.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum BadgeName {
    /// The badge of all listeners.
    Basic,
    /// The first badge for talk time.
    Bronze,
    /// The second badge for talk time.
    Silver,
    /// The highest badge for talk time.
    Gold,
}

/// The status of a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallStatus {
    /// The call is in progress.
    Ongoing,
    /// A user ended the call.
    Completed,
    /// The call ended because of a technical problem.
    Dropped,
    /// A user gave the call up.
    Cancelled,
}

/// The reason why a call ends.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum EndReason {
    /// A user ends the call.
    Completed,
    /// The call ends because of a technical problem.
    Dropped,
    /// A user gives the call up.
    Cancelled,
    /// The coins of the caller have run out.
    CoinEmpty,
    /// The same as `completed`.
    UserEnded,
    /// The same as `dropped`.
    TechnicalIssue,
}

/// How a call stands at its start.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum StartedStatus {
    /// On; its first minute is paid.
    Ongoing,
    /// The listener's devices ring; nothing is paid.
    Ringing,
}

/// How a call stands once it is accepted.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum AcceptedStatus {
    /// On.
    Ongoing,
    /// The platform's media engine connects the two; the meter does not run.
    Connecting,
}

/// How a call stands, rings included.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallStateStatus {
    /// The listener's devices ring; nothing is paid.
    Ringing,
    /// Accepted; the platform's media engine connects the two.
    Connecting,
    /// On.
    Ongoing,
    /// Ended in good order.
    Completed,
    /// Broke off.
    Dropped,
    /// Given up.
    Cancelled,
    /// The ring led to no call.
    Unanswered,
}

/// The carrier of sound and picture of a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallMedia {
    /// The apps, by means of their own.
    Own,
    /// The platform's media engine.
    Platform,
}

/// The role of a user in a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallRole {
    /// Made it and pays.
    Caller,
    /// Takes it and earns.
    Listener,
}

/// Where a call came from, as one of the two sees it.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallDirection {
    /// One was rung for it.
    Incoming,
    /// One made it.
    Outgoing,
}

/// How a ring ended without a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RingOutcome {
    /// The listener declined.
    Rejected,
    /// The caller gave up, or one of the two could not talk any more.
    Cancelled,
    /// A device rang, and nobody answered.
    Missed,
    /// No device rang.
    Unreachable,
    /// The call could not begin after it was accepted; nothing was charged.
    Failed,
}

/// Why a ring ended without a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum RingReason {
    /// Rejected without another reason.
    Declined,
    /// Rejected: the listener cannot talk now.
    Busy,
    /// Rejected: the listener will talk at another time.
    Later,
    /// Cancelled by the caller.
    HungUp,
    /// Cancelled: one of the two keeps the other away.
    Blocked,
    /// Cancelled: one of the two was suspended.
    Suspended,
    /// Cancelled by an admin.
    Admin,
    /// Cancelled: the caller's device gave no sign of life.
    CallerGone,
    /// Missed.
    NoAnswer,
    /// Unreachable.
    NotReached,
    /// Failed: the caller cannot pay the first minute.
    InsufficientCoins,
    /// Failed: the two could not be connected.
    NoMedia,
    /// Failed: the first minute could not be charged.
    WalletAway,
    /// Failed on our side.
    Server,
}

/// Why a listener declines a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum DeclineReason {
    /// No reason.
    Declined,
    /// Cannot talk now.
    Busy,
    /// Will talk at another time.
    Later,
}

/// Why a call has ended.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallEndReason {
    /// One of the two ended it.
    HungUp,
    /// The caller's coins did not pay for the next minute.
    CoinsEmpty,
    /// The connection of the two broke off.
    MediaLost,
    /// Neither of the two gave a sign of life.
    Silence,
    /// An admin ended it.
    Admin,
    /// One of the two keeps the other away.
    Blocked,
    /// The next minute could not be charged in time, which is our fault.
    Server,
}

/// The party that ended a call.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum CallEnder {
    /// The caller.
    Caller,
    /// The listener.
    Listener,
    /// The server.
    Server,
    /// An admin.
    Admin,
}

/// The payment method of a purchase.
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

/// The type of a transaction.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum TxType {
    /// Coins were bought.
    Purchase,
    /// Coins were spent on a minute.
    Spend,
    /// Rupees were earned with a call.
    Earn,
    /// Coins were added as a bonus.
    Bonus,
    /// Coins were added as a bonus for referring another user.
    ReferralBonus,
    /// Rupees were withdrawn, or returned after a rejected withdrawal.
    Withdraw,
    /// A minute or a payment was refunded.
    Refund,
}

/// The type of an addition of coins.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum AddedTxType {
    /// A purchase.
    Purchase,
    /// A bonus from an admin.
    Bonus,
    /// A bonus for referring another user.
    ReferralBonus,
}

/// The status of a withdrawal.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum WithdrawalStatus {
    /// Requested. The amount has left the balance.
    Pending,
    /// The payout is in progress.
    Processing,
    /// Paid out.
    Paid,
    /// Rejected. The amount was returned.
    Rejected,
}

/// The decision of an admin on a withdrawal.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum DecidedStatus {
    /// The payout is in progress.
    Processing,
    /// The payout is done.
    Paid,
    /// The withdrawal is rejected, and the amount is returned.
    Rejected,
}

/// The change of a block.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum BlockChange {
    /// The user was blocked.
    Block,
    /// The user was reported.
    Report,
    /// The user was unblocked.
    Unblock,
}

/// The change of a list of favourites.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum FavoriteAction {
    /// The listener was added.
    Added,
    /// The listener was removed.
    Removed,
}

/// The decision on a verification.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ReviewStatus {
    /// The sample was approved.
    Approved,
    /// The sample was rejected.
    Rejected,
    /// The verification was revoked.
    Revoked,
}

/// State of a photo.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum PhotoStatus {
    /// The photo waits for its review.
    Pending,
    /// The photo is public.
    Approved,
    /// The photo is shown to nobody.
    Rejected,
}

/// State of an export.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum DataExportStatus {
    /// It is being built.
    Pending,
    /// It can be fetched.
    Ready,
    /// It could not be built; request another one.
    Failed,
    /// It was deleted after seven days.
    Expired,
}

/// The reason why a payment was reversed.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum ReversalReason {
    /// The operator refunded it.
    Refund,
    /// The bank of the payer charged it back.
    Chargeback,
}

/// An error of a socket, or of a message to it.
#[derive(ToSchema)]
#[schema(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SocketError {
    /// The token is invalid, has expired or was revoked. The socket is closed.
    AuthFailed,
    /// The account has no access. The socket is closed.
    PermissionDenied,
    /// The user has too many sockets. The socket is closed.
    ConnectionLimit,
    /// The client sends too many messages. The socket is closed.
    RateLimited,
    /// The message is not a JSON object with a type, or its data is invalid.
    InvalidMessage,
    /// The channel has no messages of this type.
    UnknownType,
    /// The subscription would have more than 1000 users.
    TooManyUserIds,
    /// The call does not ring for the user.
    CallRefused,
    /// It could not be done now; the client may send it again.
    TryAgain,
    /// The socket has no seat in the call, or the call is over.
    NotInCall,
    /// Another device of the user holds the seat.
    SeatTaken,
    /// The seat was taken by another session or given up.
    StaleEpoch,
    /// The other party has no seat on a socket now.
    PeerAway,
    /// The signal has no valid description or candidates.
    BadSignal,
    /// The seat sends more than 60 signals a minute.
    SignalLimit,
    /// The apps carry the call themselves.
    MediaNotPlatform,
}
