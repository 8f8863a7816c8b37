//! Closing the books of a call.

use super::WalletError;
use super::journal::settlement_id;

/// Rupees a minute may earn a listener: 1000, in paise. Far above any badge.
const PAISE_PER_MINUTE_MAX: i64 = 100_000;

/// How a call ended, as far as money goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settlement {
    /// The call.
    pub call_id: i64,
    /// Who paid.
    pub caller_id: i64,
    /// Who earns.
    pub listener_id: i64,
    /// Minutes to be paid; none for a call that was taken back at no cost.
    pub minutes: i32,
    /// What the listener earns for each.
    pub listener_paise_per_minute: i64,
    /// For the listener's list of earnings; none from a caller that does not say.
    pub call_type: Option<CallType>,
}

/// What was talked by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CallType {
    /// Sound.
    Audio,
    /// Sound and picture.
    Video,
}

impl CallType {
    /// Reads the contract's word for it; an empty one says nothing.
    pub fn parse(word: &str) -> Result<Option<Self>, WalletError> {
        match word {
            "" => Ok(None),
            "audio" => Ok(Some(Self::Audio)),
            "video" => Ok(Some(Self::Video)),
            _ => Err(WalletError::OutOfRange("call_type")),
        }
    }

    /// The contract's word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Audio => "audio",
            Self::Video => "video",
        }
    }
}

/// A minute of the call that was charged and not undone.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChargedMinute {
    /// The minute, from 1.
    pub minute: i32,
    /// What it cost.
    pub coins: i64,
}

/// What a settlement does.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SettlementPlan {
    /// What the caller paid for the minutes talked.
    pub coins_spent: i64,
    /// What the listener earns.
    pub listener_paise: i64,
    /// Minutes charged beyond those talked, to be returned.
    pub returned: Vec<ChargedMinute>,
}

impl Settlement {
    /// The transfer's id.
    pub fn id(&self) -> String {
        settlement_id(self.call_id)
    }

    /// What the id stands for.
    pub fn content(&self) -> String {
        format!(
            "user {} paid {} minutes, user {} earns {} paise each",
            self.caller_id, self.minutes, self.listener_id, self.listener_paise_per_minute
        )
    }

    /// Plans the settlement given every charged minute of the call.
    pub fn plan(&self, charged: &[ChargedMinute]) -> Result<SettlementPlan, WalletError> {
        self.check()?;
        for minute in 1..=self.minutes {
            if !charged.iter().any(|charged| charged.minute == minute) {
                return Err(WalletError::MinuteNotCharged {
                    call_id: self.call_id,
                    minute,
                });
            }
        }
        let (talked, returned): (Vec<ChargedMinute>, Vec<ChargedMinute>) = charged
            .iter()
            .partition(|charged| charged.minute <= self.minutes);
        Ok(SettlementPlan {
            coins_spent: talked.iter().map(|charged| charged.coins).sum(),
            listener_paise: i64::from(self.minutes) * self.listener_paise_per_minute,
            returned,
        })
    }

    fn check(&self) -> Result<(), WalletError> {
        if self.call_id < 1 || self.caller_id < 1 || self.listener_id < 1 || self.minutes < 0 {
            return Err(WalletError::OutOfRange("an id or the number of minutes"));
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

    const SETTLEMENT: Settlement = Settlement {
        call_id: 7,
        caller_id: 1,
        listener_id: 2,
        minutes: 2,
        listener_paise_per_minute: 125,
        call_type: Some(CallType::Audio),
    };

    fn charged(minutes: &[i32]) -> Vec<ChargedMinute> {
        minutes
            .iter()
            .map(|&minute| ChargedMinute { minute, coins: 10 })
            .collect()
    }

    #[test]
    fn the_listener_earns_for_each_minute_talked() {
        let plan = SETTLEMENT.plan(&charged(&[1, 2])).expect("paid");
        assert_eq!(
            plan,
            SettlementPlan {
                coins_spent: 20,
                listener_paise: 250,
                returned: vec![]
            }
        );
    }

    #[test]
    fn a_minute_charged_beyond_the_end_is_returned() {
        let plan = SETTLEMENT.plan(&charged(&[1, 2, 3])).expect("paid");
        assert_eq!(plan.coins_spent, 20);
        assert_eq!(plan.returned, charged(&[3]));
    }

    #[test]
    fn a_call_that_was_taken_back_costs_nothing() {
        let settlement = Settlement {
            minutes: 0,
            ..SETTLEMENT
        };
        let plan = settlement.plan(&charged(&[1])).expect("allowed");
        assert_eq!((plan.coins_spent, plan.listener_paise), (0, 0));
        assert_eq!(plan.returned, charged(&[1]));
    }

    #[test]
    fn an_unpaid_minute_cannot_be_settled() {
        let error = SETTLEMENT
            .plan(&charged(&[1, 3]))
            .expect_err("minute 2 is missing");
        assert!(matches!(
            error,
            WalletError::MinuteNotCharged { minute: 2, .. }
        ));
    }

    #[test]
    fn nobody_earns_from_themselves() {
        let settlement = Settlement {
            listener_id: 1,
            ..SETTLEMENT
        };
        assert!(settlement.plan(&charged(&[1, 2])).is_err());
    }
}
