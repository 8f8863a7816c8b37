//! Withdrawals of rupees: limits, and decisions of admins.

use chrono::{DateTime, TimeDelta, Utc};
use talktime_kit::text;

use super::WalletError;
pub use super::withdrawal_status::WithdrawalStatus;

/// Admins who must agree to pay a large sum.
pub const LARGE_SUM_ADMINS: usize = 2;
/// Longest note of an admin, in characters.
const NOTES_CHARS_MAX: usize = 500;

/// Parses the contract's name of a status.
pub fn parse_status(name: &str) -> Result<WithdrawalStatus, WalletError> {
    WithdrawalStatus::from_name(name).ok_or(WalletError::UnknownWithdrawalStatus)
}

/// Prices and limits that the operator of the platform sets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WithdrawalLimits {
    /// The least that may be withdrawn at once, in paise.
    pub minimum_paise: i64,
    /// The most that one listener may withdraw in 24 hours, in paise.
    pub daily_paise: Option<i64>,
    /// Two admins must agree to what one listener requests within 24 hours above this, in paise. A limit of each
    /// withdrawal alone could be evaded by several of them.
    pub two_admins_above_paise: i64,
    /// The delay of payouts after a change of bank details. It gives the owner of an account that was taken
    /// over time to react.
    pub bank_change_delay: TimeDelta,
    /// Whether the first bank details count as a change. Somebody who has taken over an account without bank details
    /// adds their own.
    pub delays_first_bank_details: bool,
    /// The time for which the earnings of a call cannot be withdrawn after its settlement: what was paid for with a
    /// stolen card is often known within it.
    pub earnings_hold: TimeDelta,
}

/// The money of a listener at the moment of a request.
#[derive(Clone, Copy, Debug)]
pub struct WithdrawalBudget {
    /// Money that belongs to the listener, in paise.
    pub withdrawable_paise: i64,
    /// The part of it that cannot be withdrawn yet, in paise.
    pub held_paise: i64,
    /// Money requested in the last 24 hours and not rejected, in paise.
    pub requested_today_paise: i64,
}

impl WithdrawalBudget {
    /// Money that can be withdrawn now, in paise.
    pub fn available_paise(self) -> i64 {
        (self.withdrawable_paise - self.held_paise).max(0)
    }
}

impl WithdrawalLimits {
    /// The instant up to which a call must have been settled for its earnings to be available at `now`.
    pub fn earned_until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now - self.earnings_hold
    }

    /// Checks whether a listener may withdraw this sum.
    pub fn check_request(
        &self,
        amount_paise: i64,
        budget: WithdrawalBudget,
    ) -> Result<(), WalletError> {
        if amount_paise < 1 {
            return Err(WalletError::OutOfRange("amount"));
        }
        let available_paise = budget.available_paise();
        if amount_paise > budget.withdrawable_paise {
            return Err(WalletError::InsufficientMoney { available_paise });
        }
        if amount_paise > available_paise {
            return Err(WalletError::EarningsHeld { available_paise });
        }
        if amount_paise < self.minimum_paise {
            return Err(WalletError::BelowMinimum {
                minimum_paise: self.minimum_paise,
            });
        }
        let today = budget.requested_today_paise.saturating_add(amount_paise);
        match self.daily_paise {
            Some(daily_paise) if today > daily_paise => {
                Err(WalletError::AboveDailyLimit { daily_paise })
            }
            _ => Ok(()),
        }
    }

    /// The earliest instant at which a withdrawal requested at `now` may be paid out.
    pub fn payable_at(
        &self,
        now: DateTime<Utc>,
        bank_changed_at: Option<DateTime<Utc>>,
    ) -> DateTime<Utc> {
        bank_changed_at.map_or(now, |changed_at| {
            now.max(changed_at + self.bank_change_delay)
        })
    }

    /// Admins who must agree to pay a withdrawal whose listener requests this sum within 24 hours of it.
    pub fn admins_needed(&self, day_paise: i64) -> usize {
        if day_paise > self.two_admins_above_paise {
            LARGE_SUM_ADMINS
        } else {
            1
        }
    }
}

/// The state of a withdrawal that decisions are evaluated on.
#[derive(Clone, Debug)]
pub struct WithdrawalState {
    pub user_id: i64,
    /// The sum, in paise.
    pub amount_paise: i64,
    /// The current status.
    pub status: WithdrawalStatus,
    /// The earliest instant at which it may be paid out.
    pub payable_at: DateTime<Utc>,
    /// Admins who agreed to pay it.
    pub agreed: Vec<i64>,
    /// Sum that the same listener has requested within 24 hours of it, itself included and without rejected ones, in
    /// paise.
    pub day_paise: i64,
}

/// An admin's decision about a withdrawal.
#[derive(Clone, Debug)]
pub struct WithdrawalDecision {
    pub admin_id: i64,
    /// The status that the withdrawal is to get.
    pub status: WithdrawalStatus,
    /// A note for other admins.
    pub notes: Option<String>,
}

/// The effect of a decision.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum WithdrawalDecisionOutcome {
    /// The withdrawal has this status already.
    Unchanged,
    /// The decision is recorded, and another admin must agree.
    NeedsSecondApproval,
    /// The withdrawal gets the decided status.
    Applied,
}

/// Normalizes the notes of a decision.
pub fn normalize_notes(notes: &str) -> Result<String, WalletError> {
    text::normalize_paragraphs(notes, NOTES_CHARS_MAX).map_err(WalletError::InvalidNotes)
}

impl WithdrawalDecision {
    /// Evaluates the decision against the current state of the withdrawal.
    pub fn evaluate(
        &self,
        withdrawal: &WithdrawalState,
        limits: &WithdrawalLimits,
        now: DateTime<Utc>,
    ) -> Result<WithdrawalDecisionOutcome, WalletError> {
        if self.admin_id == withdrawal.user_id {
            return Err(WalletError::OwnWithdrawal);
        }
        if withdrawal.status == self.status {
            return Ok(WithdrawalDecisionOutcome::Unchanged);
        }
        if !withdrawal.status.can_become(self.status) {
            return Err(WalletError::WithdrawalDecided {
                status: withdrawal.status,
            });
        }
        if self.status == WithdrawalStatus::Rejected {
            return Ok(WithdrawalDecisionOutcome::Applied);
        }
        if now < withdrawal.payable_at {
            return Err(WalletError::PayoutDelayed {
                until: withdrawal.payable_at,
            });
        }
        let is_new = !withdrawal.agreed.contains(&self.admin_id);
        let agreed = withdrawal.agreed.len() + usize::from(is_new);
        if agreed < limits.admins_needed(withdrawal.day_paise) {
            return Ok(WithdrawalDecisionOutcome::NeedsSecondApproval);
        }
        Ok(WithdrawalDecisionOutcome::Applied)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: WithdrawalLimits = WithdrawalLimits {
        minimum_paise: 100,
        daily_paise: Some(5_000),
        two_admins_above_paise: 1_000,
        bank_change_delay: TimeDelta::hours(24),
        delays_first_bank_details: false,
        earnings_hold: TimeDelta::hours(48),
    };

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("valid")
    }

    fn undecided(status: WithdrawalStatus, amount_paise: i64, agreed: &[i64]) -> WithdrawalState {
        WithdrawalState {
            user_id: 1,
            amount_paise,
            status,
            payable_at: now(),
            agreed: agreed.to_vec(),
            day_paise: amount_paise,
        }
    }

    fn decide(
        admin_id: i64,
        status: WithdrawalStatus,
        on: &WithdrawalState,
    ) -> Result<WithdrawalDecisionOutcome, WalletError> {
        let decision = WithdrawalDecision {
            admin_id,
            status,
            notes: None,
        };
        decision.evaluate(on, &LIMITS, now())
    }

    #[test]
    fn notes_are_text_within_bounds() {
        assert_eq!(normalize_notes("looked\nat").expect("text"), "looked\nat");
        for (wrong, code, reason) in [
            ("x".repeat(501), "out_of_range", "at most 500 characters"),
            ("nul\0".to_owned(), "invalid_text", "invisible"),
            ("\u{202E}on".to_owned(), "invalid_text", "direction"),
        ] {
            let refused = talktime_kit::Error::from(normalize_notes(&wrong).expect_err("refused"));
            assert_eq!(refused.code(), code);
            assert!(refused.detail().contains(reason), "{}", refused.detail());
        }
    }

    #[test]
    fn states_go_forward_only() {
        use WithdrawalStatus::{Paid, Pending, Processing, Rejected};
        let all = [Pending, Processing, Paid, Rejected];
        let allowed = [
            (Pending, Processing),
            (Pending, Paid),
            (Pending, Rejected),
            (Processing, Paid),
            (Processing, Rejected),
        ];
        for from in all {
            for to in all {
                let step = decide(9, to, &undecided(from, 100, &[]));
                if from == to {
                    assert_eq!(
                        step.expect("no error"),
                        WithdrawalDecisionOutcome::Unchanged
                    );
                } else if allowed.contains(&(from, to)) {
                    assert_eq!(
                        step.expect("allowed"),
                        WithdrawalDecisionOutcome::Applied,
                        "{from:?} {to:?}"
                    );
                } else {
                    assert!(step.is_err(), "{from:?} {to:?}");
                }
            }
        }
    }

    #[test]
    fn two_admins_pay_a_large_sum_and_one_rejects_it() {
        let large = undecided(WithdrawalStatus::Pending, 1_001, &[]);
        let first = decide(8, WithdrawalStatus::Processing, &large);
        assert_eq!(
            first.expect("noted"),
            WithdrawalDecisionOutcome::NeedsSecondApproval
        );
        let half = undecided(WithdrawalStatus::Pending, 1_001, &[8]);
        let again = decide(8, WithdrawalStatus::Paid, &half);
        assert_eq!(
            again.expect("noted"),
            WithdrawalDecisionOutcome::NeedsSecondApproval,
            "the same admin"
        );
        let second = decide(9, WithdrawalStatus::Paid, &half);
        assert_eq!(second.expect("agreed"), WithdrawalDecisionOutcome::Applied);
        let rejected = decide(8, WithdrawalStatus::Rejected, &large);
        assert_eq!(
            rejected.expect("a decision"),
            WithdrawalDecisionOutcome::Applied
        );
        let small = undecided(WithdrawalStatus::Pending, 1_000, &[]);
        assert_eq!(
            decide(8, WithdrawalStatus::Paid, &small).expect("a decision"),
            WithdrawalDecisionOutcome::Applied
        );
    }

    #[test]
    fn two_admins_pay_small_sums_that_are_large_together() {
        let one_of_several = WithdrawalState {
            day_paise: 1_001,
            ..undecided(WithdrawalStatus::Pending, 400, &[])
        };
        let first = decide(8, WithdrawalStatus::Paid, &one_of_several);
        assert_eq!(
            first.expect("noted"),
            WithdrawalDecisionOutcome::NeedsSecondApproval
        );
    }

    #[test]
    fn an_admin_cannot_decide_about_their_own_withdrawal() {
        let own = undecided(WithdrawalStatus::Pending, 100, &[]);
        assert!(matches!(
            decide(1, WithdrawalStatus::Paid, &own),
            Err(WalletError::OwnWithdrawal)
        ));
    }

    #[test]
    fn changed_bank_details_delay_the_payout_and_not_its_rejection() {
        let changed_at = now() - TimeDelta::hours(1);
        let payable_at = LIMITS.payable_at(now(), Some(changed_at));
        assert_eq!(payable_at, now() + TimeDelta::hours(23));
        assert_eq!(LIMITS.payable_at(now(), None), now());
        let old = LIMITS.payable_at(now(), Some(now() - TimeDelta::hours(25)));
        assert_eq!(old, now());
        let delayed = WithdrawalState {
            payable_at,
            ..undecided(WithdrawalStatus::Pending, 100, &[])
        };
        for status in [WithdrawalStatus::Processing, WithdrawalStatus::Paid] {
            assert!(matches!(
                decide(9, status, &delayed),
                Err(WalletError::PayoutDelayed { .. })
            ));
        }
        let rejected = decide(9, WithdrawalStatus::Rejected, &delayed);
        assert_eq!(
            rejected.expect("allowed"),
            WithdrawalDecisionOutcome::Applied
        );
    }

    #[test]
    fn sums_are_bounded() {
        let budget = WithdrawalBudget {
            withdrawable_paise: 4_000,
            held_paise: 500,
            requested_today_paise: 2_000,
        };
        assert!(LIMITS.check_request(100, budget).is_ok());
        assert!(LIMITS.check_request(3_000, budget).is_ok());
        for (amount_paise, code) in [
            (i64::MIN, "out_of_range"),
            (0, "out_of_range"),
            (99, "below_minimum"),
            (3_001, "above_daily_limit"),
            (3_500, "above_daily_limit"),
            (3_501, "earnings_held"),
            (4_000, "earnings_held"),
            (4_001, "insufficient_money"),
            (i64::MAX, "insufficient_money"),
        ] {
            let refused = LIMITS
                .check_request(amount_paise, budget)
                .expect_err("refused");
            assert_eq!(
                talktime_kit::Error::from(refused).code(),
                code,
                "{amount_paise}"
            );
        }
    }
}
