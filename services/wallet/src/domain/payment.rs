//! Orders and prices of coins.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use talktime_kit::text_enum;

use super::WalletError;

/// The prices of coins: rupees to coins (contract, section 7, `recharge_options`).
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(transparent)]
pub struct RateCard {
    /// Whole rupees and the coins they buy.
    steps: BTreeMap<String, i64>,
}

/// A payment and the coins that it buys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateCardStep {
    pub amount_paise: i64,
    pub coins: i64,
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
    /// Returns the steps from the cheapest to the dearest.
    pub fn steps(&self) -> Vec<RateCardStep> {
        let parse_step = |(rupees, coins): (&String, &i64)| {
            let rupees: i64 = rupees.parse().ok()?;
            Some(RateCardStep {
                amount_paise: rupees.checked_mul(100)?,
                coins: *coins,
            })
        };
        let mut steps: Vec<RateCardStep> = self.steps.iter().filter_map(parse_step).collect();
        steps.sort_unstable_by_key(|step| step.amount_paise);
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

/// The payment method of a purchase.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PaymentMethod {
    /// Unified Payments Interface.
    Upi,
    /// Credit or debit card.
    Card,
    /// A wallet of another company.
    Wallet,
}

text_enum!(PaymentMethod {
    Upi => "upi",
    Card => "card",
    Wallet => "wallet",
});

impl PaymentMethod {
    /// Parses the contract's name.
    pub fn parse(name: &str) -> Result<Self, WalletError> {
        Self::from_name(name).ok_or(WalletError::UnknownPaymentMethod)
    }
}

/// The name of the provider that pays by itself.
pub const SANDBOX: &str = "sandbox";
/// The most coins that one purchase or gift may bring: far above any price, far below overflow.
pub const COINS_MAX: i64 = 1_000_000_000;
/// The most coins that one person may have.
const BALANCE_COINS_MAX: i64 = 1_000_000_000_000_000;
/// The largest sum of the documented columns, `NUMERIC(12,2)`, in paise.
pub const PAISE_MAX: i64 = 999_999_999_999;

/// Checks whether a purchase of coins is within its limits, given the current balance.
pub fn check_coins(coins: i64, amount_paise: i64, balance_coins: i64) -> Result<(), WalletError> {
    if !(1..=COINS_MAX).contains(&coins) {
        return Err(WalletError::OutOfRange("coins"));
    }
    if !(0..=PAISE_MAX).contains(&amount_paise) {
        return Err(WalletError::OutOfRange("amount"));
    }
    if balance_coins.saturating_add(coins) > BALANCE_COINS_MAX {
        return Err(WalletError::OutOfRange("the balance"));
    }
    Ok(())
}

/// The stored name of a payment method: one of the contract's, or another one that providers have.
pub fn method_name(word: Option<&str>) -> Option<&'static str> {
    let known = ["upi", "card", "wallet", "netbanking", "emi"];
    word.map(|word| {
        known
            .into_iter()
            .find(|name| *name == word)
            .unwrap_or("other")
    })
}

/// An order for coins and its current state.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PaymentOrder {
    /// Its id at the provider.
    pub order_id: String,
    pub user_id: i64,
    /// The name of the provider that takes the payment.
    pub provider: String,
    /// The price, in paise.
    pub amount_paise: i64,
    /// The coins that it buys.
    pub coins: i64,
    /// The payment that paid it, or that is to pay it in the sandbox.
    pub payment_id: Option<String>,
    /// The line in the buyer's history; none until it is credited.
    pub transaction_id: Option<i64>,
    /// The instant at which it was paid.
    pub paid_at: Option<DateTime<Utc>>,
    /// The price that was paid for its coins; less than `amount_paise` after a discount of the provider. None
    /// until it is credited, and for orders that were credited before this was recorded.
    pub paid_paise: Option<i64>,
    /// Money that was reversed, in paise.
    pub reversed_paise: i64,
    /// Coins that reversals took from the buyer.
    pub reversed_coins: i64,
}

impl PaymentOrder {
    /// Whether the order is credited.
    pub fn is_paid(&self) -> bool {
        self.transaction_id.is_some()
    }

    /// Whether a provider reports the order's payments; the sandbox has nothing to report.
    pub fn is_reported_by_provider(&self) -> bool {
        self.provider != SANDBOX
    }

    /// The payment that credited this order.
    pub fn credited_payment_id(&self) -> Option<&str> {
        self.payment_id.as_deref().filter(|_| self.is_paid())
    }

    /// The price that was paid for the coins, in paise.
    pub fn price_paise(&self) -> i64 {
        self.paid_paise.unwrap_or(self.amount_paise)
    }

    /// Whether everything that this order brought was taken back.
    pub fn is_reversed(&self) -> bool {
        self.is_paid() && self.reversed_coins == self.coins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_card_is_read_from_the_cheapest_step() {
        let steps = RateCard::default().steps();
        let cheapest = RateCardStep {
            amount_paise: 15_000,
            coins: 300,
        };
        assert_eq!(steps.first(), Some(&cheapest));
        let dearest = RateCardStep {
            amount_paise: 100_000,
            coins: 2_000,
        };
        assert_eq!(steps.last(), Some(&dearest));
    }

    #[test]
    fn the_card_sells_whole_steps_only() {
        let card = RateCard::default();
        assert_eq!(card.coins_for(15_000).expect("a step"), 300);
        for amount_paise in [15_001, 15_099, 0, -15_000, 20_000, i64::MAX, i64::MIN] {
            assert!(card.coins_for(amount_paise).is_err(), "{amount_paise}");
        }
    }

    #[test]
    fn coins_and_sums_are_bounded() {
        assert!(check_coins(1, 0, 0).is_ok());
        assert!(check_coins(COINS_MAX, PAISE_MAX, 0).is_ok());
        for (coins, paise, balance) in [
            (0, 0, 0),
            (-1, 0, 0),
            (COINS_MAX + 1, 0, 0),
            (i64::MAX, 0, 0),
            (1, -1, 0),
            (1, PAISE_MAX + 1, 0),
            (1, i64::MAX, 0),
            (1, 0, BALANCE_COINS_MAX),
            (1, 0, i64::MAX),
        ] {
            assert!(
                check_coins(coins, paise, balance).is_err(),
                "{coins} {paise} {balance}"
            );
        }
    }

    #[test]
    fn providers_know_more_ways_to_pay_than_the_contract() {
        for (word, name) in [
            (Some("upi"), Some("upi")),
            (Some("netbanking"), Some("netbanking")),
            (Some("cardless_emi"), Some("other")),
            (None, None),
        ] {
            assert_eq!(method_name(word), name);
        }
    }
}
