//! Histories, earnings and purchases as people see them.

use chrono::{DateTime, Utc};
use talktime_kit::text_enum;

use super::WalletError;

/// The type of a line in a history (contract, section 6, `tx_type`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TxType {
    /// Coins were bought.
    Purchase,
    /// Coins were spent on a minute.
    Spend,
    /// Rupees were earned with a call.
    Earn,
    /// Coins were given.
    Bonus,
    /// Coins were given for a referral.
    ReferralBonus,
    /// Rupees were asked for, or came back.
    Withdraw,
    /// A minute or a payment was taken back.
    Refund,
}

text_enum!(TxType {
    Purchase => "purchase",
    Spend => "spend",
    Earn => "earn",
    Bonus => "bonus",
    ReferralBonus => "referral_bonus",
    Withdraw => "withdraw",
    Refund => "refund",
});

impl TxType {
    /// Parses the contract's name.
    pub fn parse(name: &str) -> Result<Self, WalletError> {
        Self::from_name(name).ok_or(WalletError::UnknownTxType)
    }
}

/// The lines of a history that a request asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HistoryFilter {
    /// All of them.
    All,
    /// The lines of a listener's rupees: earned and withdrawn.
    ListenerMoney,
    /// Lines of one type.
    OneType(TxType),
}

impl HistoryFilter {
    /// The filter of a request for a person's own history.
    pub fn for_user(word: Option<&str>) -> Result<Self, WalletError> {
        Ok(word
            .map(TxType::parse)
            .transpose()?
            .map_or(Self::All, Self::OneType))
    }

    /// The filter of a request for earnings and withdrawals.
    pub fn for_listener(word: Option<&str>) -> Result<Self, WalletError> {
        match word.map(TxType::parse).transpose()? {
            None => Ok(Self::ListenerMoney),
            Some(of @ (TxType::Earn | TxType::Withdraw)) => Ok(Self::OneType(of)),
            Some(_) => Err(WalletError::UnknownTxType),
        }
    }

    /// The names of the types to list; none for all types.
    pub fn types(self) -> Option<Vec<&'static str>> {
        match self {
            Self::All => None,
            Self::ListenerMoney => Some(vec![TxType::Earn.name(), TxType::Withdraw.name()]),
            Self::OneType(of) => Some(vec![of.name()]),
        }
    }
}

/// One line of a person's history.
#[derive(Clone, Debug, Eq, PartialEq, sqlx::FromRow)]
pub struct HistoryLine {
    pub transaction_id: i64,
    /// The contract's word for its type.
    pub tx_type: String,
    /// Change of the coins.
    pub coins_change: i64,
    /// Rupees that were paid, earned or withdrawn, in paise.
    pub money_change_paise: i64,
    /// Text that is shown to people.
    pub description: String,
    /// The call, for transfers that belong to a call.
    pub call_id: Option<i64>,
    pub created_at: DateTime<Utc>,
}

/// The totals of a person's whole history.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, sqlx::FromRow)]
pub struct HistoryTotals {
    /// Spent on minutes and not returned.
    pub coins_spent: i64,
    /// Paid for coins and not taken back, in paise.
    pub paise_spent: i64,
    /// The coins that callers paid for calls with this person.
    pub coins_earned: i64,
    /// Earned with calls, in paise.
    pub paise_earned: i64,
}

/// The earning of one call.
#[derive(Clone, Debug, Eq, PartialEq, sqlx::FromRow)]
pub struct CallEarning {
    pub call_id: i64,
    pub caller_id: i64,
    /// `audio` or `video`; none for calls settled without a type.
    pub call_type: Option<String>,
    /// Minutes paid.
    pub minutes: i32,
    /// The coins that the caller paid.
    pub coins: i64,
    /// The sum that the listener earned, in paise.
    pub paise: i64,
    /// The instant of the settlement.
    pub created_at: DateTime<Utc>,
}

/// The totals of all earnings.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, sqlx::FromRow)]
pub struct EarningTotals {
    pub calls: i64,
    /// The coins that callers paid.
    pub coins: i64,
    /// The sum that the listener earned, in paise.
    pub paise: i64,
}

/// Coins that were bought.
#[derive(Clone, Debug, Eq, PartialEq, sqlx::FromRow)]
pub struct CoinPurchase {
    pub recharge_id: i64,
    /// The line in the history.
    pub transaction_id: i64,
    /// The sum that was paid, in paise.
    pub amount_paise: i64,
    /// The coins that were bought.
    pub coins: i64,
    /// The payment method, by the contract's or the provider's name.
    pub payment_method: Option<String>,
    /// `completed` or `reversed`.
    pub status: String,
    /// The instant at which it was paid.
    pub created_at: DateTime<Utc>,
}

/// The totals of all purchases.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, sqlx::FromRow)]
pub struct PurchaseTotals {
    pub purchases: i64,
    /// Money that was paid, in paise.
    pub paise: i64,
    /// Coins that were bought.
    pub coins: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_by_its_name() {
        for each in TxType::ALL {
            assert_eq!(TxType::parse(each.name()).expect("known"), each);
        }
        assert!(TxType::parse("gift").is_err());
    }

    #[test]
    fn a_listener_lists_earnings_and_withdrawals() {
        assert_eq!(
            HistoryFilter::for_listener(None).expect("all"),
            HistoryFilter::ListenerMoney
        );
        let earned = HistoryFilter::for_listener(Some("earn")).expect("rupees");
        assert_eq!(earned, HistoryFilter::OneType(TxType::Earn));
        assert!(HistoryFilter::for_listener(Some("spend")).is_err());
        assert_eq!(
            HistoryFilter::for_user(None).expect("all"),
            HistoryFilter::All
        );
    }
}
