//! Buying coins.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::WalletError;

/// What coins cost: rupees to coins (contract, section 7, `recharge_options`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct RateCard {
    /// Whole rupees and the coins they buy.
    steps: BTreeMap<String, i64>,
}

impl Default for RateCard {
    fn default() -> Self {
        let steps = [(150, 300), (300, 600), (500, 1_000), (1_000, 2_000)];
        Self {
            steps: steps
                .map(|(rupees, coins)| (rupees.to_string(), coins))
                .into(),
        }
    }
}

impl RateCard {
    /// Payments in paise and the coins they buy, from the cheapest to the dearest.
    pub fn steps(&self) -> Vec<(i64, i64)> {
        let in_paise = |(rupees, coins): (&String, &i64)| {
            let rupees: i64 = rupees.parse().ok()?;
            Some((rupees.checked_mul(100)?, *coins))
        };
        let mut steps: Vec<(i64, i64)> = self.steps.iter().filter_map(in_paise).collect();
        steps.sort_unstable();
        steps
    }

    /// The coins that a payment of `amount_paise` buys, if the card has such a step.
    pub fn coins_for(&self, amount_paise: i64) -> Result<i64, WalletError> {
        let rupees = (amount_paise % 100 == 0).then_some(amount_paise / 100);
        rupees
            .and_then(|rupees| self.steps.get(&rupees.to_string()).copied())
            .ok_or(WalletError::NotOnRateCard { amount_paise })
    }
}

/// How a person pays.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PaymentMethod {
    /// Unified Payments Interface.
    Upi,
    /// Credit or debit card.
    Card,
    /// A wallet of another company.
    Wallet,
}

impl PaymentMethod {
    /// Reads the contract's word for it.
    pub fn parse(word: &str) -> Result<Self, WalletError> {
        match word {
            "upi" => Ok(Self::Upi),
            "card" => Ok(Self::Card),
            "wallet" => Ok(Self::Wallet),
            _ => Err(WalletError::UnknownPaymentMethod),
        }
    }

    /// The contract's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Upi => "upi",
            Self::Card => "card",
            Self::Wallet => "wallet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_is_read_from_the_cheapest_step() {
        let cheapest = RateCard::default().steps()[0];
        assert_eq!(cheapest, (15_000, 300));
        let dearest = RateCard::default().steps().pop();
        assert_eq!(dearest, Some((100_000, 2_000)));
    }

    #[test]
    fn the_card_sells_whole_steps_only() {
        let card = RateCard::default();
        assert_eq!(card.coins_for(15_000).expect("a step"), 300);
        for amount_paise in [15_001, 15_099, 0, -15_000, 20_000, i64::MAX, i64::MIN] {
            assert!(card.coins_for(amount_paise).is_err(), "{amount_paise}");
        }
    }
}
