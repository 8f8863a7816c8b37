//! The ledger as a few maps: what each person has, and what was done under which id.

use std::collections::HashMap;

use rand::Rng;
use rand::rngs::StdRng;
use talktime_wallet::domain::charging::MinuteCharge;
use talktime_wallet::domain::settlement::{CallSettlement, CallType};
use talktime_wallet::domain::withdrawal::WithdrawalStatus;

/// Callers of one worker.
pub(crate) const CALLERS: usize = 3;
/// Calls of one worker that go on at a time.
const CALLS: i64 = 6;
const PAISE_PER_MINUTE: i64 = 125;

/// The balance of a person in the model.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct ExpectedBalance {
    pub(crate) coins: i64,
    /// The part of the coins that was given.
    pub(crate) bonus_coins: i64,
    pub(crate) withdrawable_paise: i64,
    pub(crate) pending_paise: i64,
    pub(crate) withdrawn_paise: i64,
}

/// The result of a charge in the model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ExpectedCharge {
    Leaves(i64),
    Insufficient(i64),
    Voided,
}

/// The state of a minute.
#[derive(Clone, Copy)]
enum MinuteState {
    /// It was charged, with given coins first, and left this balance.
    Charged {
        coins: i64,
        bonus_coins: i64,
        balance_coins: i64,
    },
    /// It was charged and undone.
    Undone { coins: i64 },
    /// It was forbidden before it arrived.
    Forbidden,
}

struct SettledCall {
    content: String,
    answer: ExpectedSettlement,
}

/// The result of a settlement in the model.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct ExpectedSettlement {
    pub(crate) coins_spent: i64,
    pub(crate) listener_paise: i64,
    pub(crate) caller_balance_coins: i64,
}

/// One worker's people and calls.
pub(crate) struct LedgerModel {
    pub(crate) callers: Vec<i64>,
    pub(crate) listener_id: i64,
    pub(crate) people: HashMap<i64, ExpectedBalance>,
    /// Money that the shared listener earned from calls of this worker.
    pub(crate) shared_paise: i64,
    first_call: i64,
    calls: Vec<i64>,
    calls_begun: i64,
    minutes: HashMap<(i64, i32), MinuteState>,
    closed: HashMap<i64, SettledCall>,
    withdrawals: HashMap<i64, (i64, WithdrawalStatus)>,
}

impl LedgerModel {
    pub(crate) fn of_worker(number: i64) -> Self {
        let first_person = 100 * (number + 1);
        let callers: Vec<i64> = (first_person..).take(CALLERS).collect();
        let listener_id = first_person + 50;
        let user_ids = callers.iter().chain([&listener_id]);
        let first_call = 100_000 * (number + 1);
        Self {
            people: user_ids
                .map(|user_id| (*user_id, ExpectedBalance::default()))
                .collect(),
            callers,
            listener_id,
            shared_paise: 0,
            first_call,
            calls: (0..CALLS).map(|n| first_call + n).collect(),
            calls_begun: CALLS,
            minutes: HashMap::new(),
            closed: HashMap::new(),
            withdrawals: HashMap::new(),
        }
    }

    pub(crate) fn any_call(&self, rng: &mut StdRng) -> i64 {
        self.calls[rng.random_range(0..self.calls.len())]
    }

    /// Replaces the call by a new one.
    pub(crate) fn forget_call(&mut self, call_id: i64) {
        let next = self.first_call + self.calls_begun;
        self.calls_begun += 1;
        for call in &mut self.calls {
            if *call == call_id {
                *call = next;
            }
        }
    }

    /// A minute of a call: always the same caller and price.
    pub(crate) fn minute(&self, call_id: i64, minute: i32) -> MinuteCharge {
        MinuteCharge {
            call_id,
            minute,
            user_id: self.caller_of(call_id),
            coins: 1 + call_id % 7,
        }
    }

    fn caller_of(&self, call_id: i64) -> i64 {
        let place = usize::try_from(call_id).expect("above zero") % CALLERS;
        self.callers[place]
    }

    fn coins_of(&mut self, user_id: i64) -> &mut i64 {
        &mut self.people.get_mut(&user_id).expect("one of ours").coins
    }

    /// Adds coins; returns the coins afterwards.
    pub(crate) fn add_coins(&mut self, user_id: i64, coins: i64) -> i64 {
        let balance = self.coins_of(user_id);
        *balance += coins;
        *balance
    }

    /// Adds given coins; returns all coins afterwards.
    pub(crate) fn add_bonus(&mut self, user_id: i64, coins: i64) -> i64 {
        let person = self.people.get_mut(&user_id).expect("one of ours");
        person.bonus_coins += coins;
        self.add_coins(user_id, coins)
    }

    /// Adds coins, of which some are given ones, or takes them if they are below zero; returns all coins afterwards.
    fn move_coins(&mut self, user_id: i64, coins: i64, bonus_coins: i64) -> i64 {
        self.add_bonus(user_id, bonus_coins);
        self.add_coins(user_id, coins - bonus_coins)
    }

    pub(crate) fn charge(&mut self, charge: &MinuteCharge) -> ExpectedCharge {
        let id = (charge.call_id, charge.minute);
        match self.minutes.get(&id) {
            Some(MinuteState::Charged { balance_coins, .. }) => {
                return ExpectedCharge::Leaves(*balance_coins);
            }
            Some(MinuteState::Undone { .. } | MinuteState::Forbidden) => {
                return ExpectedCharge::Voided;
            }
            None if self.closed.contains_key(&charge.call_id) => return ExpectedCharge::Voided,
            None => {}
        }
        let available = *self.coins_of(charge.user_id);
        if available < charge.coins {
            return ExpectedCharge::Insufficient(available);
        }
        let coins = charge.coins;
        let bonus_coins = coins.min(self.people[&charge.user_id].bonus_coins);
        let balance_coins = self.move_coins(charge.user_id, -coins, -bonus_coins);
        let minute = MinuteState::Charged {
            coins,
            bonus_coins,
            balance_coins,
        };
        self.minutes.insert(id, minute);
        ExpectedCharge::Leaves(balance_coins)
    }

    /// Returns the coins that the void returns, now or earlier.
    pub(crate) fn void(&mut self, charge: &MinuteCharge) -> i64 {
        let id = (charge.call_id, charge.minute);
        match self.minutes.get(&id).copied() {
            Some(MinuteState::Charged {
                coins, bonus_coins, ..
            }) => {
                self.minutes.insert(id, MinuteState::Undone { coins });
                self.move_coins(charge.user_id, coins, bonus_coins);
                coins
            }
            Some(MinuteState::Undone { coins }) => coins,
            Some(MinuteState::Forbidden) => 0,
            None => {
                self.minutes.insert(id, MinuteState::Forbidden);
                0
            }
        }
    }

    fn is_charged(&self, call_id: i64, minute: i32) -> bool {
        let minute = self.minutes.get(&(call_id, minute));
        matches!(minute, Some(MinuteState::Charged { .. }))
    }

    /// Returns a number of minutes: mostly those that were paid without a gap, sometimes one more or none.
    pub(crate) fn minutes_to_settle(&self, call_id: i64, rng: &mut StdRng) -> i32 {
        let gap = (1..i32::MAX).find(|minute| !self.is_charged(call_id, *minute));
        let paid = gap.expect("somewhere") - 1;
        match rng.random_range(0..10) {
            0 => paid + 1,
            1 => 0,
            _ => paid,
        }
    }

    pub(crate) fn settlement(
        &self,
        call_id: i64,
        listener_id: i64,
        minutes: i32,
        returned_minutes: Vec<i32>,
        unearned_minutes: Vec<i32>,
    ) -> CallSettlement {
        CallSettlement {
            returned_minutes,
            unearned_minutes,
            call_id,
            caller_id: self.caller_of(call_id),
            listener_id,
            minutes,
            listener_paise_per_minute: PAISE_PER_MINUTE,
            call_type: Some(CallType::Audio),
        }
    }

    /// Settles a call; returns the figures, or the code of the refusal.
    pub(crate) fn settle(
        &mut self,
        settlement: &CallSettlement,
    ) -> Result<ExpectedSettlement, &'static str> {
        let (call_id, caller_id) = (settlement.call_id, settlement.caller_id);
        if let Some(closed) = self.closed.get(&call_id) {
            let is_same = closed.content == settlement.content();
            return is_same.then_some(closed.answer).ok_or("transfer_mismatch");
        }
        if !(1..=settlement.minutes).all(|minute| self.is_charged(call_id, minute)) {
            return Err("minute_not_charged");
        }
        let (mut spent, mut returned, mut returned_bonus, mut earned) = (0, 0, 0, 0);
        for ((call, minute), state) in &mut self.minutes {
            let MinuteState::Charged {
                coins, bonus_coins, ..
            } = *state
            else {
                continue;
            };
            let is_earned =
                *minute <= settlement.minutes && !settlement.unearned_minutes.contains(minute);
            if *call == call_id && is_earned {
                earned += PAISE_PER_MINUTE * (coins - bonus_coins) / coins;
            }
            let is_kept =
                *minute <= settlement.minutes && !settlement.returned_minutes.contains(minute);
            if *call == call_id && is_kept {
                spent += coins;
            } else if *call == call_id {
                returned += coins;
                returned_bonus += bonus_coins;
                *state = MinuteState::Undone { coins };
            }
        }
        let balance = self.move_coins(caller_id, returned, returned_bonus);
        match self.people.get_mut(&settlement.listener_id) {
            Some(listener) => listener.withdrawable_paise += earned,
            None => self.shared_paise += earned,
        }
        let answer = ExpectedSettlement {
            coins_spent: spent,
            listener_paise: earned,
            caller_balance_coins: balance,
        };
        let content = settlement.content();
        self.closed.insert(call_id, SettledCall { content, answer });
        Ok(answer)
    }

    /// Holds a sum under the number that the ledger gave it.
    pub(crate) fn withdraw(
        &mut self,
        paise: i64,
        withdrawal_id: Option<i64>,
    ) -> Result<(), &'static str> {
        let listener = self.people.get_mut(&self.listener_id);
        let listener = listener.expect("one of ours");
        if paise > listener.withdrawable_paise {
            return Err("insufficient_money");
        }
        listener.withdrawable_paise -= paise;
        listener.pending_paise += paise;
        if let Some(id) = withdrawal_id {
            self.withdrawals
                .insert(id, (paise, WithdrawalStatus::Pending));
        }
        Ok(())
    }

    pub(crate) fn any_withdrawal(&self, rng: &mut StdRng) -> Option<i64> {
        let mut ids: Vec<i64> = self.withdrawals.keys().copied().collect();
        ids.sort_unstable();
        (!ids.is_empty()).then(|| ids[rng.random_range(0..ids.len())])
    }

    /// The status afterwards, or the code of the refusal.
    pub(crate) fn decide(
        &mut self,
        id: i64,
        next: WithdrawalStatus,
    ) -> Result<&'static str, &'static str> {
        let listener = self.people.get_mut(&self.listener_id);
        let listener = listener.expect("one of ours");
        let (paise, status) = self.withdrawals.get_mut(&id).expect("asked for");
        if *status == next {
            return Ok(next.name());
        }
        match (*status, next) {
            (WithdrawalStatus::Paid | WithdrawalStatus::Rejected, _)
            | (_, WithdrawalStatus::Pending) => {
                return Err("withdrawal_decided");
            }
            (_, WithdrawalStatus::Processing) => {}
            (_, WithdrawalStatus::Paid) => {
                listener.pending_paise -= *paise;
                listener.withdrawn_paise += *paise;
            }
            (_, WithdrawalStatus::Rejected) => {
                listener.pending_paise -= *paise;
                listener.withdrawable_paise += *paise;
            }
        }
        *status = next;
        Ok(next.name())
    }
}
