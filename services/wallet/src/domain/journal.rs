//! Double-entry bookkeeping: every movement takes from one account and gives to another.
//!
//! The caller of an operation chooses the id of its transfer and repeats it in retries
//! (`call/7/minute/2`); they are what makes every operation happen at most once.

use std::fmt;

use talktime_kit::text_enum;
use talktime_proto::wallet::charge_id;

/// An account of the journal. A person's balance is what was credited less what was debited.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JournalAccount {
    /// A person's coins or rupees.
    User(i64),
    /// Coins that were given to a person and not bought. They are a part of the balance.
    UserBonus(i64),
    /// Coins that a person owes: of a payment that was taken back after they were spent. Never above
    /// zero.
    UserDebt(i64),
    /// The platform account that issues bought and given coins.
    CoinIssue,
    /// The platform account that receives spent coins.
    CoinRevenue,
    /// Rupees that people paid for coins.
    CoinSales,
    /// Rupees that a payment provider has taken and owes us.
    GatewayClearing,
    /// Rupees that listeners have earned.
    ListenerCost,
    /// Rupees whose withdrawal was requested and has not been paid out.
    PayoutsPending,
    /// Rupees that were paid out.
    Bank,
    /// Coins that are set aside while the payment that bought them is disputed.
    Disputed,
    /// Debts between a deleted account and the one that has taken its place; always zero after a transaction.
    DebtTransfer,
    /// Balances that deleted accounts left behind.
    Forfeited,
}

impl fmt::Display for JournalAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user_id) => write!(f, "user/{user_id}"),
            Self::UserBonus(user_id) => write!(f, "user/{user_id}/bonus"),
            Self::UserDebt(user_id) => write!(f, "user/{user_id}/debt"),
            Self::CoinIssue => f.write_str("platform/coin_issue"),
            Self::CoinRevenue => f.write_str("platform/coin_revenue"),
            Self::CoinSales => f.write_str("platform/coin_sales"),
            Self::GatewayClearing => f.write_str("platform/gateway_clearing"),
            Self::ListenerCost => f.write_str("platform/listener_cost"),
            Self::PayoutsPending => f.write_str("platform/payouts_pending"),
            Self::Bank => f.write_str("platform/bank"),
            Self::Disputed => f.write_str("platform/disputed"),
            Self::DebtTransfer => f.write_str("platform/debt_transfer"),
            Self::Forfeited => f.write_str("platform/forfeited"),
        }
    }
}

/// The currency of an entry. Coins and rupees never mix: the accounts of each sum to zero.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum JournalCurrency {
    /// Whole coins.
    Coins,
    /// Hundredths of a rupee.
    Paise,
}

text_enum!(JournalCurrency {
    Coins => "coins",
    Paise => "paise",
});

/// One row of the journal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct JournalEntry {
    pub currency: JournalCurrency,
    /// The account that gives.
    pub debit: JournalAccount,
    /// The account that receives.
    pub credit: JournalAccount,
    /// The amount in the smallest unit of the currency, above zero.
    pub amount: i64,
}

/// The entries of movements of coins, given as debit, credit and amount. Movements of nothing are left out, since an entry
/// must have an amount.
pub fn coin_entries(
    movements: impl IntoIterator<Item = (JournalAccount, JournalAccount, i64)>,
) -> Vec<JournalEntry> {
    let movements = movements.into_iter().filter(|(.., amount)| *amount > 0);
    movements
        .map(|(debit, credit, amount)| JournalEntry {
            currency: JournalCurrency::Coins,
            debit,
            credit,
            amount,
        })
        .collect()
}

/// The reason of a transfer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransferKind {
    /// A minute of a call was paid.
    Charge,
    /// A charge was undone, or forbidden before it happened.
    Void,
    /// A call's listener was paid.
    Settlement,
    /// Coins were bought.
    Payment,
    /// Coins were given.
    Bonus,
    /// A payment was refunded or charged back, or what was owed for one was paid.
    PaymentReversal,
    /// Coins are set aside while their payment is disputed.
    DisputeHold,
    /// They are returned, or about to be taken back.
    DisputeRelease,
    /// Earnings that were paid for with money that a dispute took back.
    EarningReversal,
    /// The debt of a deleted account passes to a later account of the same phone.
    DebtTransfer,
    /// Rupees are held for a requested withdrawal.
    Withdrawal,
    /// Rupees of a rejected withdrawal were returned.
    WithdrawalReturn,
    /// Rupees were paid out.
    Payout,
    /// An account was deleted.
    Closing,
}

text_enum!(TransferKind {
    Charge => "charge",
    Void => "void",
    Settlement => "settlement",
    Payment => "payment",
    Bonus => "bonus",
    PaymentReversal => "payment_reversal",
    DisputeHold => "dispute_hold",
    DisputeRelease => "dispute_release",
    EarningReversal => "earning_reversal",
    DebtTransfer => "debt_transfer",
    Withdrawal => "withdrawal",
    WithdrawalReturn => "withdrawal_return",
    Payout => "payout",
    Closing => "closing",
});

/// The id under which that charge is undone.
pub fn void_id(call_id: i64, minute: i32) -> String {
    format!("{}/void", charge_id(call_id, minute))
}

/// The id under which a call's books are closed.
pub fn settlement_id(call_id: i64) -> String {
    format!("call/{call_id}/settlement")
}

/// The id under which a payment is credited.
pub fn payment_transfer_id(payment_id: &str) -> String {
    format!("payment/{payment_id}")
}

/// The id under which coins that came in with this transfer pay a debt.
pub fn debt_payment_id(transfer_id: &str) -> String {
    format!("{transfer_id}/debt")
}

/// The id under which a payment is taken back up to this sum, in the smallest unit of its currency.
/// Sums only grow, so each step has an id of its own, whoever reports it.
pub fn reversal_id(payment_id: &str, returned: i64) -> String {
    format!("payment/{payment_id}/reversal/{returned}")
}

/// The id under which coins are set aside while their payment is disputed.
pub fn dispute_hold_id(payment_id: &str, dispute_id: &str) -> String {
    format!("payment/{payment_id}/dispute/{dispute_id}")
}

/// The id under which these coins are returned.
pub fn dispute_release_id(payment_id: &str, dispute_id: &str) -> String {
    format!("{}/release", dispute_hold_id(payment_id, dispute_id))
}

/// The id under which the earnings of a call are taken that were paid for with disputed money.
pub fn lost_earning_id(payment_id: &str, dispute_id: &str, call_id: i64) -> String {
    format!("{}/call/{call_id}", dispute_hold_id(payment_id, dispute_id))
}

/// The id under which a debt leaves a deleted account, whose chain has this length.
pub fn debt_transfer_id(owner_id: i64, successor_id: i64, chain_length: i64) -> String {
    format!("user/{owner_id}/debt/{successor_id}/{chain_length}")
}

/// The id under which a gift is given.
pub fn bonus_id(fresh_id: &str) -> String {
    format!("bonus/{fresh_id}")
}

/// The id under which the sum of a withdrawal is held.
pub fn withdrawal_transfer_id(withdrawal_id: i64) -> String {
    format!("withdrawal/{withdrawal_id}")
}

/// The id under which a withdrawal is paid out.
pub fn payout_id(withdrawal_id: i64) -> String {
    format!("withdrawal/{withdrawal_id}/payout")
}

/// The id under which the sum of a rejected withdrawal comes back.
pub fn withdrawal_return_id(withdrawal_id: i64) -> String {
    format!("withdrawal/{withdrawal_id}/return")
}

/// The id under which a deleted account is emptied.
pub fn closing_id(user_id: i64) -> String {
    format!("user/{user_id}/closing")
}
