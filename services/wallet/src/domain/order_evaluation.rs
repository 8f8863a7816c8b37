//! Deciding what the payments of one order are worth, from everything that the provider has reported.
//!
//! Notifications, proofs of apps and answers of the provider's API all end here, so that their order
//! and number make no difference.

use talktime_kit::text_enum;

use super::payment::PaymentOrder;

/// All prices are in rupees.
pub const CURRENCY: &str = "INR";

/// A payment whose money arrived, with everything that is known to have gone back of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CapturedPayment {
    /// Its id at the provider.
    pub payment_id: String,
    /// The sum that was paid, in the smallest unit of its currency.
    pub amount: i64,
    /// The currency, by its ISO 4217 code.
    pub currency: String,
    /// Whether the provider granted the buyer a discount on the order.
    pub is_discounted: bool,
    /// The sum that was refunded, in the smallest unit of its currency.
    pub refunded: i64,
    /// The sum that the buyer's bank took back, in the smallest unit of its currency.
    pub charged_back: i64,
}

/// The meaning of a captured payment for its order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CapturedPaymentOutcome {
    /// It pays the order, whose coins it brings.
    Credited,
    /// It is less than the order costs and brings nothing.
    Underpaid,
    /// It is in another currency and brings nothing.
    ForeignCurrency,
    /// Another payment paid the order; this one brings nothing.
    Surplus,
    /// All of it went back before it brought anything.
    Returned,
}

text_enum!(CapturedPaymentOutcome {
    Credited => "credited",
    Underpaid => "underpaid",
    ForeignCurrency => "foreign_currency",
    Surplus => "surplus",
    Returned => "returned",
});

/// Money and coins that a payment's reversals have taken back, from the first to the last.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReversedAmounts {
    /// Money, as far as it paid for the coins, in paise.
    pub paise: i64,
    /// Coins.
    pub coins: i64,
}

impl ReversedAmounts {
    /// The part that goes beyond what was taken back `before`; none if there is no such part.
    pub fn beyond(self, before: Self) -> Option<Self> {
        let beyond = Self {
            paise: (self.paise - before.paise).max(0),
            coins: (self.coins - before.coins).max(0),
        };
        (beyond != Self::default()).then_some(beyond)
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, more: Self) -> Self {
        Self {
            paise: self.paise + more.paise,
            coins: self.coins + more.coins,
        }
    }
}

/// The state that one payment of an order is to be in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PaymentDecision {
    pub payment_id: String,
    /// Its meaning for the order.
    pub outcome: CapturedPaymentOutcome,
    /// The price that it pays for the coins, in paise; zero unless it is credited.
    pub price_paise: i64,
    /// The amounts that its reversals take back; nothing unless it is credited.
    pub reversed: ReversedAmounts,
}

/// Decides about every captured payment of an order. The first one that pays the order credits it,
/// unless one has credited it before.
pub fn evaluate_order(order: &PaymentOrder, payments: &[CapturedPayment]) -> Vec<PaymentDecision> {
    let mut credited_id = order.credited_payment_id().map(ToOwned::to_owned);
    let mut decisions = Vec::with_capacity(payments.len());
    for payment in payments {
        let is_credited = credited_id.as_deref() == Some(payment.payment_id.as_str());
        let (outcome, price_paise) = if is_credited {
            (CapturedPaymentOutcome::Credited, order.price_paise())
        } else {
            payment.evaluate(order, credited_id.is_some())
        };
        let mut decision = PaymentDecision {
            payment_id: payment.payment_id.clone(),
            outcome,
            price_paise,
            reversed: ReversedAmounts::default(),
        };
        if outcome == CapturedPaymentOutcome::Credited {
            credited_id = Some(payment.payment_id.clone());
            decision.reversed = payment.reversed_amounts(price_paise, order.coins);
        }
        decisions.push(decision);
    }
    decisions
}

impl CapturedPayment {
    /// The outcome of a payment that has not credited its order, and what it pays for the coins.
    fn evaluate(
        &self,
        order: &PaymentOrder,
        is_paid_otherwise: bool,
    ) -> (CapturedPaymentOutcome, i64) {
        if self.returned() > 0 && self.kept() == 0 {
            return (CapturedPaymentOutcome::Returned, 0);
        }
        if self.currency != CURRENCY {
            return (CapturedPaymentOutcome::ForeignCurrency, 0);
        }
        let is_discounted = self.is_discounted && self.amount > 0;
        let is_enough = self.amount >= order.amount_paise || is_discounted;
        if !is_enough {
            return (CapturedPaymentOutcome::Underpaid, 0);
        }
        if is_paid_otherwise {
            return (CapturedPaymentOutcome::Surplus, 0);
        }
        (
            CapturedPaymentOutcome::Credited,
            self.amount.min(order.amount_paise),
        )
    }

    /// The amounts that its reversals take back of coins bought for `price_paise`. Money beyond the
    /// price goes back first and takes no coins; the last rupee takes the last coin.
    pub fn reversed_amounts(&self, price_paise: i64, coins: i64) -> ReversedAmounts {
        if self.returned() == 0 {
            return ReversedAmounts::default();
        }
        let worth = self.amount.min(price_paise);
        let kept = self.kept().min(worth);
        if kept <= 0 {
            return ReversedAmounts {
                paise: price_paise,
                coins,
            };
        }
        let returned_share = |whole: i64| {
            let returned = i128::from(whole) * i128::from(worth - kept) / i128::from(worth);
            i64::try_from(returned).unwrap_or(whole)
        };
        ReversedAmounts {
            paise: returned_share(price_paise),
            coins: returned_share(coins),
        }
    }

    /// The sum that went back, for whatever reason.
    pub fn returned(&self) -> i64 {
        self.refunded.saturating_add(self.charged_back)
    }

    /// The sum that has not gone back.
    fn kept(&self) -> i64 {
        self.amount.saturating_sub(self.returned()).max(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> PaymentOrder {
        PaymentOrder {
            order_id: "order_1".to_owned(),
            user_id: 1,
            provider: "razorpay".to_owned(),
            amount_paise: 15_000,
            coins: 301,
            payment_id: None,
            transaction_id: None,
            paid_at: None,
            paid_paise: None,
            reversed_paise: 0,
            reversed_coins: 0,
        }
    }

    fn payment(payment_id: &str, amount: i64) -> CapturedPayment {
        CapturedPayment {
            payment_id: payment_id.to_owned(),
            amount,
            currency: CURRENCY.to_owned(),
            is_discounted: false,
            refunded: 0,
            charged_back: 0,
        }
    }

    fn refunded(payment_id: &str, amount: i64, refunded: i64) -> CapturedPayment {
        CapturedPayment {
            refunded,
            ..payment(payment_id, amount)
        }
    }

    fn outcomes(
        order: &PaymentOrder,
        payments: &[CapturedPayment],
    ) -> Vec<(CapturedPaymentOutcome, i64)> {
        let decisions = evaluate_order(order, payments).into_iter();
        decisions
            .map(|decision| (decision.outcome, decision.price_paise))
            .collect()
    }

    #[test]
    fn only_the_amount_of_the_order_or_more_pays_it() {
        for amount in [i64::MIN, -5, 0, 100, 14_999] {
            let found = outcomes(&order(), &[payment("p1", amount)]);
            assert_eq!(found, [(CapturedPaymentOutcome::Underpaid, 0)], "{amount}");
        }
        for amount in [15_000, 15_001, 30_000, i64::MAX] {
            let found = outcomes(&order(), &[payment("p1", amount)]);
            assert_eq!(
                found,
                [(CapturedPaymentOutcome::Credited, 15_000)],
                "{amount}"
            );
        }
    }

    #[test]
    fn a_discount_of_the_provider_pays_the_rest() {
        let discounted = |amount| CapturedPayment {
            is_discounted: true,
            ..payment("p1", amount)
        };
        assert_eq!(
            outcomes(&order(), &[discounted(14_000)]),
            [(CapturedPaymentOutcome::Credited, 14_000)]
        );
        assert_eq!(
            outcomes(&order(), &[discounted(0)]),
            [(CapturedPaymentOutcome::Underpaid, 0)]
        );
    }

    #[test]
    fn every_payment_gets_the_outcome_of_its_amount_and_currency() {
        let dollars = CapturedPayment {
            currency: "USD".to_owned(),
            ..payment("p0", 15_000)
        };
        let payments = [
            dollars,
            refunded("p1", 15_000, 15_000),
            payment("p2", 15_000),
            payment("p3", 15_000),
        ];
        assert_eq!(
            outcomes(&order(), &payments),
            [
                (CapturedPaymentOutcome::ForeignCurrency, 0),
                (CapturedPaymentOutcome::Returned, 0),
                (CapturedPaymentOutcome::Credited, 15_000),
                (CapturedPaymentOutcome::Surplus, 0),
            ]
        );
    }

    #[test]
    fn the_payment_that_credited_an_order_stays_the_one() {
        let paid = PaymentOrder {
            payment_id: Some("p2".to_owned()),
            transaction_id: Some(1),
            ..order()
        };
        let payments = [payment("p1", 15_000), refunded("p2", 100, 100)];
        let decisions = evaluate_order(&paid, &payments);
        assert_eq!(decisions[0].outcome, CapturedPaymentOutcome::Surplus);
        assert_eq!(decisions[1].outcome, CapturedPaymentOutcome::Credited);
        let everything = ReversedAmounts {
            paise: 15_000,
            coins: 301,
        };
        assert_eq!(decisions[1].reversed, everything, "all of a single rupee");
    }

    #[test]
    fn partial_refunds_of_the_whole_sum_take_every_coin() {
        let taken: Vec<(i64, i64)> = [0, 1, 5_000, 10_000, 14_999, 15_000, 24_000]
            .into_iter()
            .map(|back| {
                let reversed = refunded("p1", 15_000, back).reversed_amounts(15_000, 301);
                (reversed.paise, reversed.coins)
            })
            .collect();
        let expected = [
            (0, 0),
            (1, 0),
            (5_000, 100),
            (10_000, 200),
            (14_999, 300),
            (15_000, 301),
            (15_000, 301),
        ];
        assert_eq!(taken, expected);
    }

    #[test]
    fn money_beyond_the_price_goes_back_first() {
        let reversed = |back| refunded("p1", 30_000, back).reversed_amounts(15_000, 300);
        assert_eq!(reversed(15_000), ReversedAmounts::default());
        let half = ReversedAmounts {
            paise: 7_500,
            coins: 150,
        };
        assert_eq!(reversed(22_500), half);
        assert_eq!(reversed(30_000).coins, 300);
    }

    #[test]
    fn a_full_refund_of_a_discounted_payment_takes_all_coins() {
        let refund = refunded("p1", 14_000, 14_000).reversed_amounts(14_000, 300);
        assert_eq!((refund.paise, refund.coins), (14_000, 300));
    }
}
