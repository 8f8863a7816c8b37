//! Settlements of calls.

use talktime_kit::text_enum;

use super::WalletError;
use super::journal::settlement_id;

/// Rupees a minute may earn a listener: 1000, in paise. Far above any badge.
const PAISE_PER_MINUTE_MAX: i64 = 100_000;

/// The settlement of a call: who paid, who earns and for how many minutes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CallSettlement {
    pub call_id: i64,
    pub caller_id: i64,
    pub listener_id: i64,
    /// The number of minutes to be paid; zero for a call that costs nothing.
    pub minutes: i32,
    /// The rate of the listener in paise for each minute.
    pub listener_paise_per_minute: i64,
    /// The type of the call, for the listener's list of earnings; none if the caller does not name it.
    pub call_type: Option<CallType>,
    /// Minutes among these whose coins go back to the caller, in ascending order.
    pub returned_minutes: Vec<i32>,
    /// The returned minutes that the listener does not earn either, in ascending order.
    pub unearned_minutes: Vec<i32>,
}

/// The medium of a call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallType {
    /// Sound.
    Audio,
    /// Sound and picture.
    Video,
}

text_enum!(CallType {
    Audio => "audio",
    Video => "video",
});

impl CallType {
    /// Parses the contract's name; an empty text names no type.
    pub fn parse(name: &str) -> Result<Option<Self>, WalletError> {
        if name.is_empty() {
            return Ok(None);
        }
        let call_type = Self::from_name(name).ok_or(WalletError::OutOfRange("call_type"))?;
        Ok(Some(call_type))
    }
}

/// A minute of the call that was charged and not undone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChargedMinute {
    /// The minute, from 1.
    pub minute: i32,
    pub coins: i64,
    /// The part of the coins that was given to the caller.
    pub bonus_coins: i64,
}

impl ChargedMinute {
    /// The part of a listener's rate that the bought coins bring, rounded down to a whole paisa.
    fn bought_paise(&self, paise_per_minute: i64) -> i64 {
        let bought_coins = self.coins - self.bonus_coins;
        (paise_per_minute * bought_coins)
            .checked_div(self.coins)
            .unwrap_or(paise_per_minute)
    }
}

/// The effect of a settlement.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettlementPlan {
    /// The coins that the caller paid for the settled minutes.
    pub coins_spent: i64,
    /// The part of them that was given to the caller.
    pub bonus_coins: i64,
    /// The sum that the listener earns, in paise.
    pub listener_paise: i64,
    /// The part of it that given coins bring.
    pub bonus_paise: i64,
    /// The minutes to void: those charged beyond the settled count, and those given back.
    pub returned: Vec<ChargedMinute>,
}

impl CallSettlement {
    /// The transfer's id.
    pub fn id(&self) -> String {
        settlement_id(self.call_id)
    }

    /// The meaning of the id in words; the same id with other content is refused.
    pub fn content(&self) -> String {
        let settled = format!(
            "user {} paid {} minutes, user {} earns {} paise each",
            self.caller_id, self.minutes, self.listener_id, self.listener_paise_per_minute
        );
        if self.returned_minutes.is_empty() {
            return settled;
        }
        let (returned, unearned) = (&self.returned_minutes, &self.unearned_minutes);
        format!("{settled}; returned {returned:?}, not earned {unearned:?}")
    }

    /// Minutes that the listener earns.
    pub fn earned_minutes(&self) -> i32 {
        let unearned = i32::try_from(self.unearned_minutes.len()).unwrap_or(i32::MAX);
        self.minutes.saturating_sub(unearned)
    }

    /// Plans the settlement given every charged minute of the call. Coins that were given to the caller earn the listener
    /// nothing, unless `bonus_earns`.
    pub fn plan(
        &self,
        charged: &[ChargedMinute],
        bonus_earns: bool,
    ) -> Result<SettlementPlan, WalletError> {
        self.check()?;
        for minute in 1..=self.minutes {
            if !charged.iter().any(|charged| charged.minute == minute) {
                return Err(WalletError::MinuteNotCharged {
                    call_id: self.call_id,
                    minute,
                });
            }
        }
        let is_kept = |minute| minute <= self.minutes && !self.returned_minutes.contains(&minute);
        let (talked, returned): (Vec<ChargedMinute>, Vec<ChargedMinute>) =
            charged.iter().partition(|charged| is_kept(charged.minute));
        let bought_paise = self.sum_bought_paise(charged);
        let full_paise = i64::from(self.earned_minutes()) * self.listener_paise_per_minute;
        let bonus_paise = if bonus_earns {
            full_paise - bought_paise
        } else {
            0
        };
        Ok(SettlementPlan {
            coins_spent: talked.iter().map(|charged| charged.coins).sum(),
            bonus_coins: talked.iter().map(|charged| charged.bonus_coins).sum(),
            listener_paise: bought_paise + bonus_paise,
            bonus_paise,
            returned,
        })
    }

    /// Sums what the bought coins of the earned minutes bring the listener, in paise.
    fn sum_bought_paise(&self, charged: &[ChargedMinute]) -> i64 {
        let is_earned = |minute| minute <= self.minutes && !self.unearned_minutes.contains(&minute);
        let earned = charged.iter().filter(|charged| is_earned(charged.minute));
        earned
            .map(|charged| charged.bought_paise(self.listener_paise_per_minute))
            .sum()
    }

    fn check(&self) -> Result<(), WalletError> {
        if self.call_id < 1 || self.caller_id < 1 || self.listener_id < 1 || self.minutes < 0 {
            return Err(WalletError::OutOfRange("an id or the number of minutes"));
        }
        let are_minutes = |minutes: &[i32]| {
            let are_distinct = minutes.is_sorted_by(|left, right| left < right);
            are_distinct
                && minutes
                    .iter()
                    .all(|minute| (1..=self.minutes).contains(minute))
        };
        if !are_minutes(&self.returned_minutes) {
            return Err(WalletError::OutOfRange("returned_minutes"));
        }
        let is_returned = |minute: &i32| self.returned_minutes.contains(minute);
        if !are_minutes(&self.unearned_minutes) || !self.unearned_minutes.iter().all(is_returned) {
            return Err(WalletError::OutOfRange("unearned_minutes"));
        }
        if self.caller_id == self.listener_id {
            return Err(WalletError::OutOfRange("listener_id"));
        }
        if !(0..=PAISE_PER_MINUTE_MAX).contains(&self.listener_paise_per_minute) {
            return Err(WalletError::OutOfRange("listener_paise_per_minute"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLEMENT: CallSettlement = CallSettlement {
        call_id: 7,
        caller_id: 1,
        listener_id: 2,
        minutes: 2,
        listener_paise_per_minute: 125,
        call_type: Some(CallType::Audio),
        returned_minutes: vec![],
        unearned_minutes: vec![],
    };

    #[test]
    fn a_returned_minute_is_borne_by_the_listener_or_by_the_platform() {
        for (unearned_minutes, listener_paise) in [(vec![], 250), (vec![1], 125)] {
            let settlement = CallSettlement {
                returned_minutes: vec![1],
                unearned_minutes,
                ..SETTLEMENT
            };
            let plan = settlement.plan(&charged(&[1, 2, 3]), false).expect("paid");
            let expected = SettlementPlan {
                coins_spent: 10,
                bonus_coins: 0,
                listener_paise,
                bonus_paise: 0,
                // The third minute was charged, but had not begun.
                returned: charged(&[1, 3]),
            };
            assert_eq!(plan, expected);
        }
    }

    #[test]
    fn only_settled_minutes_are_returned_and_each_once() {
        for (returned_minutes, unearned_minutes) in [
            (vec![3], vec![]),
            (vec![0], vec![]),
            (vec![1, 1], vec![]),
            (vec![2, 1], vec![]),
            (vec![1], vec![2]),
            (vec![1], vec![1, 1]),
        ] {
            let settlement = CallSettlement {
                returned_minutes,
                unearned_minutes,
                ..SETTLEMENT
            };
            let refused = settlement.plan(&charged(&[1, 2]), false);
            assert!(
                matches!(refused, Err(WalletError::OutOfRange(_))),
                "{settlement:?}"
            );
        }
    }

    #[test]
    fn returned_minutes_are_part_of_the_meaning_of_a_settlement() {
        let returning = CallSettlement {
            returned_minutes: vec![1],
            ..SETTLEMENT
        };
        assert_ne!(returning.content(), SETTLEMENT.content());
        let unearned = CallSettlement {
            unearned_minutes: vec![1],
            ..returning.clone()
        };
        assert_ne!(unearned.content(), returning.content());
    }

    fn charged(minutes: &[i32]) -> Vec<ChargedMinute> {
        minutes
            .iter()
            .map(|&minute| charged_minute(minute, 0))
            .collect()
    }

    /// A minute of ten coins, of which some were given.
    fn charged_minute(minute: i32, bonus_coins: i64) -> ChargedMinute {
        ChargedMinute {
            minute,
            coins: 10,
            bonus_coins,
        }
    }

    #[test]
    fn given_coins_earn_nothing_unless_the_operator_pays_for_them() {
        // The rate is 125 paise: three of ten coins bring 37.5, of which the half paisa is left out.
        for (bonus_coins, bought_paise) in
            [([0, 0], 250), ([10, 0], 125), ([7, 0], 162), ([10, 10], 0)]
        {
            let minutes = [
                charged_minute(1, bonus_coins[0]),
                charged_minute(2, bonus_coins[1]),
            ];
            let unpaid = SETTLEMENT.plan(&minutes, false).expect("paid");
            let expected = SettlementPlan {
                coins_spent: 20,
                bonus_coins: bonus_coins.iter().sum(),
                listener_paise: bought_paise,
                bonus_paise: 0,
                returned: vec![],
            };
            assert_eq!(unpaid, expected);
            let paid = SETTLEMENT.plan(&minutes, true).expect("paid");
            let expected = SettlementPlan {
                listener_paise: 250,
                bonus_paise: 250 - bought_paise,
                ..expected
            };
            assert_eq!(paid, expected);
        }
    }

    #[test]
    fn a_returned_minute_of_given_coins_earns_what_it_would_have_earned() {
        let minutes = [charged_minute(1, 10), charged_minute(2, 0)];
        let settlement = CallSettlement {
            returned_minutes: vec![1, 2],
            ..SETTLEMENT
        };
        let plan = settlement.plan(&minutes, false).expect("paid");
        assert_eq!((plan.coins_spent, plan.bonus_coins), (0, 0));
        assert_eq!((plan.listener_paise, plan.bonus_paise), (125, 0));
        assert_eq!(plan.returned, minutes);
    }

    #[test]
    fn the_listener_earns_for_each_minute_talked() {
        let plan = SETTLEMENT.plan(&charged(&[1, 2]), false).expect("paid");
        assert_eq!(
            plan,
            SettlementPlan {
                coins_spent: 20,
                bonus_coins: 0,
                listener_paise: 250,
                bonus_paise: 0,
                returned: vec![]
            }
        );
    }

    #[test]
    fn a_minute_charged_beyond_the_end_is_returned() {
        let plan = SETTLEMENT.plan(&charged(&[1, 2, 3]), false).expect("paid");
        assert_eq!(plan.coins_spent, 20);
        assert_eq!(plan.returned, charged(&[3]));
    }

    #[test]
    fn a_call_without_minutes_costs_nothing() {
        let settlement = CallSettlement {
            minutes: 0,
            ..SETTLEMENT
        };
        let plan = settlement.plan(&charged(&[1]), false).expect("allowed");
        assert_eq!((plan.coins_spent, plan.listener_paise), (0, 0));
        assert_eq!(plan.returned, charged(&[1]));
    }

    #[test]
    fn an_unpaid_minute_cannot_be_settled() {
        let error = SETTLEMENT
            .plan(&charged(&[1, 3]), false)
            .expect_err("minute 2 is missing");
        assert!(matches!(
            error,
            WalletError::MinuteNotCharged { minute: 2, .. }
        ));
    }

    #[test]
    fn a_caller_cannot_earn_from_their_own_call() {
        let settlement = CallSettlement {
            listener_id: 1,
            ..SETTLEMENT
        };
        assert!(settlement.plan(&charged(&[1, 2]), false).is_err());
    }
}
