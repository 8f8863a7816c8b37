//! A wallet that follows its contract: each id moves money once, and a voided or settled charge never takes
//! place.

use std::collections::{BTreeMap, BTreeSet};

use talktime_calls::domain::evidence::MinuteReturns;
use talktime_calls::domain::steps::MinuteChargeOutcome;

/// A request to the wallet. Equal requests are the same request.
#[derive(Clone, Debug)]
pub(super) enum WalletRequest {
    Charge {
        call_id: i64,
        minute: i32,
        user_id: i64,
        coins: i64,
    },
    Void {
        call_id: i64,
    },
    Settle {
        call_id: i64,
        listener_id: i64,
        minutes: i32,
        paise_per_minute: i64,
        returns: MinuteReturns,
    },
}

#[derive(Clone, Debug)]
pub(super) enum WalletAnswer {
    Charge(MinuteChargeOutcome),
    Voided,
    Settled(SettlementFigures),
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct SettlementFigures {
    pub(super) minutes: i32,
    pub(super) returns: MinuteReturns,
    pub(super) coins_spent: i64,
    pub(super) listener_paise: i64,
}

#[derive(Clone, Copy, Debug)]
struct ChargeRecord {
    user_id: i64,
    coins: i64,
    bonus_coins: i64,
    balance_coins: i64,
}

#[derive(Default)]
pub(super) struct WalletModel {
    pub(super) coins: BTreeMap<i64, i64>,
    /// The part of the coins of each user that was given, is spent first, and earns nothing.
    bonus_coins: BTreeMap<i64, i64>,
    pub(super) paise: BTreeMap<i64, i64>,
    /// Coins sold by the platform, and below them the coins that it has taken for minutes.
    pub(super) issued_coins: i64,
    pub(super) revenue_coins: i64,
    pub(super) cost_paise: i64,
    charges: BTreeMap<(i64, i32), ChargeRecord>,
    voided: BTreeSet<(i64, i32)>,
    settled: BTreeMap<i64, SettlementFigures>,
}

impl WalletModel {
    /// Adds coins, of which every other user is given a part.
    pub(super) fn recharge(&mut self, user_id: i64, coins: i64) {
        *self.coins.entry(user_id).or_default() += coins;
        if user_id % 2 == 0 {
            *self.bonus_coins.entry(user_id).or_default() += coins / 4;
        }
        self.issued_coins += coins;
    }

    pub(super) fn answer(&mut self, request: WalletRequest) -> WalletAnswer {
        match request {
            WalletRequest::Charge {
                call_id,
                minute,
                user_id,
                coins,
            } => WalletAnswer::Charge(self.charge((call_id, minute), user_id, coins)),
            WalletRequest::Void { call_id } => {
                self.void((call_id, 1));
                WalletAnswer::Voided
            }
            WalletRequest::Settle {
                call_id,
                listener_id,
                minutes,
                paise_per_minute,
                returns,
            } => {
                let paise = paise_per_minute;
                WalletAnswer::Settled(self.settle(call_id, listener_id, minutes, paise, returns))
            }
        }
    }

    fn charge(&mut self, id: (i64, i32), user_id: i64, coins: i64) -> MinuteChargeOutcome {
        if self.voided.contains(&id) {
            return MinuteChargeOutcome::Voided;
        }
        if let Some(before) = self.charges.get(&id) {
            return MinuteChargeOutcome::Paid {
                balance_coins: before.balance_coins,
                bonus_coins: before.bonus_coins,
            };
        }
        let (call_id, _minute) = id;
        if self.settled.contains_key(&call_id) {
            return MinuteChargeOutcome::Voided;
        }
        let available_coins = self.coins.get(&user_id).copied().unwrap_or_default();
        if available_coins < coins {
            return MinuteChargeOutcome::Insufficient {
                required_coins: coins,
                available_coins,
            };
        }
        let balance_coins = available_coins - coins;
        self.coins.insert(user_id, balance_coins);
        let given_coins = self.bonus_coins.entry(user_id).or_default();
        let bonus_coins = coins.min(*given_coins);
        *given_coins -= bonus_coins;
        self.revenue_coins += coins;
        let charged = ChargeRecord {
            user_id,
            coins,
            bonus_coins,
            balance_coins,
        };
        self.charges.insert(id, charged);
        MinuteChargeOutcome::Paid {
            balance_coins,
            bonus_coins,
        }
    }

    fn void(&mut self, id: (i64, i32)) {
        if !self.voided.insert(id) {
            return;
        }
        if let Some(charged) = self.charges.get(&id) {
            *self.coins.entry(charged.user_id).or_default() += charged.coins;
            *self.bonus_coins.entry(charged.user_id).or_default() += charged.bonus_coins;
            self.revenue_coins -= charged.coins;
        }
    }

    fn settle(
        &mut self,
        call_id: i64,
        listener_id: i64,
        minutes: i32,
        paise: i64,
        returns: MinuteReturns,
    ) -> SettlementFigures {
        if let Some(before) = self.settled.get(&call_id) {
            assert_eq!(
                (before.minutes, &before.returns),
                (minutes, &returns),
                "call {call_id} is settled differently"
            );
            return before.clone();
        }
        for minute in 1..=minutes {
            assert!(
                self.is_charged((call_id, minute)),
                "minute {minute} of call {call_id} is settled and was never charged"
            );
        }
        for (minute, _) in self.charged_minutes(call_id) {
            if minute > minutes || returns.returned.contains(&minute) {
                self.void((call_id, minute));
            }
        }
        let settled = SettlementFigures {
            minutes,
            coins_spent: self
                .charged_minutes(call_id)
                .iter()
                .map(|(_, coins)| coins)
                .sum(),
            listener_paise: self.earned_paise(call_id, minutes, &returns.unearned, paise),
            returns,
        };
        *self.paise.entry(listener_id).or_default() += settled.listener_paise;
        self.cost_paise += settled.listener_paise;
        self.settled.insert(call_id, settled.clone());
        settled
    }

    /// Paise that the first `minutes` minutes of a call earn: bought coins bring their part of the rate, also where the
    /// caller has them back for a minute that the listener is paid for.
    pub(super) fn earned_paise(
        &self,
        call_id: i64,
        minutes: i32,
        unearned: &[i32],
        paise: i64,
    ) -> i64 {
        let earning = (1..=minutes).filter(|minute| !unearned.contains(minute));
        earning
            .map(|minute| {
                let charged = &self.charges[&(call_id, minute)];
                paise * (charged.coins - charged.bonus_coins) / charged.coins
            })
            .sum()
    }

    fn is_charged(&self, id: (i64, i32)) -> bool {
        self.charges.contains_key(&id) && !self.voided.contains(&id)
    }

    pub(super) fn settlement(&self, call_id: i64) -> Option<SettlementFigures> {
        self.settled.get(&call_id).cloned()
    }

    /// Charged minutes of a call that were not returned, with their coins.
    pub(super) fn charged_minutes(&self, call_id: i64) -> Vec<(i32, i64)> {
        let of_call = self.charges.range((call_id, 0)..(call_id + 1, 0));
        of_call
            .filter(|(id, _)| !self.voided.contains(id))
            .map(|((_, minute), charged)| (*minute, charged.coins))
            .collect()
    }

    /// Calls with at least one charge.
    pub(super) fn charged_calls(&self) -> BTreeSet<i64> {
        self.charges.keys().map(|(call_id, _)| *call_id).collect()
    }
}

/// Number of these minutes.
pub(super) fn count(minutes: &[i32]) -> i64 {
    i64::try_from(minutes.len()).expect("a few")
}
