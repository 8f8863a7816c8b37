//! Disputes about payments: what they put at stake, and which earnings were paid for with it.

use talktime_kit::text_enum;

use super::order_evaluation::CapturedPayment;

/// The state of a dispute.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DisputeStatus {
    /// The buyer's bank has not decided yet.
    Open,
    /// The money stays with us.
    Won,
    /// The bank took the money back.
    Lost,
    /// It ended without a decision about money.
    Closed,
}

text_enum!(DisputeStatus {
    Open => "open",
    Won => "won",
    Lost => "lost",
    Closed => "closed",
});

/// A dispute as the provider reports it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PaymentDispute {
    /// Its id at the provider.
    pub dispute_id: String,
    /// The disputed sum, in the smallest unit of the payment's currency.
    pub amount: i64,
    pub status: DisputeStatus,
}

/// A call that a buyer has paid for since a payment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PaidCall {
    pub call_id: i64,
    /// The coins that the buyer paid, without those whose earnings another dispute claims.
    pub coins: i64,
    /// The sum that the listener earned and that no other dispute claims, in paise.
    pub paise: i64,
}

impl PaidCall {
    /// Takes out the earnings that other disputes hold or have taken, and the same part of the coins: they paid for this
    /// call with another payment.
    #[must_use]
    pub fn without_claimed(self, claimed_paise: i64) -> Self {
        let paise = (self.paise - claimed_paise).max(0);
        if paise == self.paise {
            return self;
        }
        let coins = i128::from(self.coins) * i128::from(paise) / i128::from(self.paise);
        Self {
            coins: i64::try_from(coins).unwrap_or(self.coins),
            paise,
            ..self
        }
    }
}

/// Returns the coins that the loss of `amount` would take of those that a payment bought for `price_paise`.
pub fn coins_at_stake(payment: &CapturedPayment, price_paise: i64, coins: i64, amount: i64) -> i64 {
    let lost = CapturedPayment {
        charged_back: payment.charged_back.saturating_add(amount),
        ..payment.clone()
    };
    let before = payment.reversed_amounts(price_paise, coins).coins;
    lost.reversed_amounts(price_paise, coins).coins - before
}

/// Attributes spent coins to calls, the newest ones first, and returns the earnings of each call that they paid for,
/// in paise. Coins are alike, so which ones paid for a call is a convention; the newest calls are those whose
/// earnings are most likely to be still here.
pub fn attribute_earnings(spent_coins: i64, newest_first: &[PaidCall]) -> Vec<(i64, i64)> {
    let mut left_coins = spent_coins;
    let mut attributed = Vec::new();
    for call in newest_first {
        if left_coins <= 0 {
            break;
        }
        let coins = call.coins.min(left_coins);
        if coins <= 0 {
            continue;
        }
        left_coins -= coins;
        let share = i128::from(call.paise) * i128::from(coins) / i128::from(call.coins);
        let paise = i64::try_from(share).unwrap_or(call.paise);
        if paise > 0 {
            attributed.push((call.call_id, paise));
        }
    }
    attributed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(call_id: i64, coins: i64, paise: i64) -> PaidCall {
        PaidCall {
            call_id,
            coins,
            paise,
        }
    }

    #[test]
    fn spent_coins_paid_for_the_newest_calls() {
        let calls = [call(3, 20, 200), call(2, 30, 300), call(1, 50, 500)];
        assert_eq!(attribute_earnings(0, &calls), []);
        assert_eq!(attribute_earnings(20, &calls), [(3, 200)]);
        assert_eq!(attribute_earnings(35, &calls), [(3, 200), (2, 150)]);
        let all = [(3, 200), (2, 300), (1, 500)];
        assert_eq!(attribute_earnings(100, &calls), all);
        assert_eq!(
            attribute_earnings(1_000, &calls),
            all,
            "other coins were given"
        );
        assert_eq!(
            attribute_earnings(10, &[call(1, 10, 0)]),
            [],
            "earned nothing"
        );
    }

    #[test]
    fn two_disputes_do_not_claim_the_same_earnings() {
        let second = |claimed: [i64; 2]| {
            let calls = [call(2, 30, 300), call(1, 50, 500)];
            let left: Vec<PaidCall> = calls
                .iter()
                .zip(claimed)
                .map(|(call, claimed_paise)| call.without_claimed(claimed_paise))
                .collect();
            attribute_earnings(40, &left)
        };
        assert_eq!(second([0, 0]), [(2, 300), (1, 100)]);
        assert_eq!(second([100, 0]), [(2, 200), (1, 200)]);
        assert_eq!(second([300, 0]), [(1, 400)]);
        assert_eq!(second([300, 300]), [(1, 200)]);
        assert_eq!(second([300, 500]), []);
    }

    #[test]
    fn a_dispute_puts_at_stake_what_its_loss_would_take() {
        let payment = CapturedPayment {
            payment_id: "p1".to_owned(),
            amount: 15_000,
            currency: "INR".to_owned(),
            is_discounted: false,
            refunded: 5_000,
            charged_back: 0,
        };
        for (amount, coins) in [(1, 0), (5_000, 100), (10_000, 200), (15_000, 200)] {
            assert_eq!(
                coins_at_stake(&payment, 15_000, 300, amount),
                coins,
                "{amount}"
            );
        }
    }
}
