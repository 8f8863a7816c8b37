//! The types of lines in a history, and the filters of requests.

use talktime_kit::text_enum;

use super::WalletError;

/// The type of a line in a history (contract, section 6, `tx_type`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransactionType {
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
    /// Rupees were withdrawn, or returned after a rejection.
    Withdraw,
    /// A minute or a payment was taken back.
    Refund,
}

text_enum!(TransactionType {
    Purchase => "purchase",
    Spend => "spend",
    Earn => "earn",
    Bonus => "bonus",
    ReferralBonus => "referral_bonus",
    Withdraw => "withdraw",
    Refund => "refund",
});

impl TransactionType {
    /// Parses the contract's name.
    pub fn parse(name: &str) -> Result<Self, WalletError> {
        Self::from_name(name).ok_or(WalletError::UnknownTxType)
    }
}

/// The lines of a history that a request selects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TransactionHistoryFilter {
    /// All of them.
    All,
    /// The lines of a listener's rupees: earned and withdrawn.
    ListenerMoney,
    /// Lines of one type.
    OneType(TransactionType),
}

impl TransactionHistoryFilter {
    /// The filter of a request for a person's own history.
    pub fn for_user(word: Option<&str>) -> Result<Self, WalletError> {
        Ok(word
            .map(TransactionType::parse)
            .transpose()?
            .map_or(Self::All, Self::OneType))
    }

    /// The filter of a request for earnings and withdrawals.
    pub fn for_listener(word: Option<&str>) -> Result<Self, WalletError> {
        match word.map(TransactionType::parse).transpose()? {
            None => Ok(Self::ListenerMoney),
            Some(of @ (TransactionType::Earn | TransactionType::Withdraw)) => Ok(Self::OneType(of)),
            Some(_) => Err(WalletError::UnknownTxType),
        }
    }

    /// The names of the types to list; none for all types.
    pub fn types(self) -> Option<Vec<&'static str>> {
        match self {
            Self::All => None,
            Self::ListenerMoney => Some(vec![
                TransactionType::Earn.name(),
                TransactionType::Withdraw.name(),
            ]),
            Self::OneType(of) => Some(vec![of.name()]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_by_its_name() {
        for each in TransactionType::ALL {
            assert_eq!(TransactionType::parse(each.name()).expect("known"), each);
        }
        assert!(TransactionType::parse("gift").is_err());
    }

    #[test]
    fn a_listener_lists_earnings_and_withdrawals() {
        assert_eq!(
            TransactionHistoryFilter::for_listener(None).expect("all"),
            TransactionHistoryFilter::ListenerMoney
        );
        let earned = TransactionHistoryFilter::for_listener(Some("earn")).expect("rupees");
        assert_eq!(
            earned,
            TransactionHistoryFilter::OneType(TransactionType::Earn)
        );
        assert!(TransactionHistoryFilter::for_listener(Some("spend")).is_err());
        assert_eq!(
            TransactionHistoryFilter::for_user(None).expect("all"),
            TransactionHistoryFilter::All
        );
    }
}
