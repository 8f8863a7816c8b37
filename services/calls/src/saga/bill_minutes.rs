//! Charges each minute of a live call when it begins.

use std::collections::HashMap;

use talktime_kit::idempotency::{self, KeyClaimOutcome};
use talktime_kit::messaging::outbox;
use talktime_kit::{Error, ErrorKind, failpoint};

use super::bounds::sum_concurrently;
use super::requests::{MinuteBillingOutcome, MinuteBillingRequest};
use crate::domain::CallError;
use crate::domain::call::{Call, CallPhase};
use crate::domain::steps::{
    self, CallEndCause, DueSagaStep, MinuteBillingDecision, MinuteChargeOutcome, PaidMinute,
};
use crate::events;
use crate::metrics;
use crate::peers::build_charge_request;
use crate::service::{CallService, require_party};
use crate::store::calls;

impl CallService {
    /// Bills the minutes of one call that are due, by the same steps as the sweeper, and ends the call if
    /// its caller is out of coins. A repeated request with the same idempotency key gets the first answer
    /// again; in any case a minute is billed only once.
    ///
    /// # Errors
    ///
    /// [`CallError::NoSuchCall`] if the call is not live (any more), [`CallError::NotAParty`] if it belongs
    /// to others, [`CallError::InsufficientCoins`] or [`CallError::CallerOutOfCoins`] if the next minute
    /// cannot be paid.
    pub async fn bill_minute(
        &self,
        billing: &MinuteBillingRequest,
    ) -> Result<MinuteBillingOutcome, CallError> {
        let Some(request) = &billing.idempotency else {
            return self
                .bill_begun_minutes(billing.call_id, billing.user_id)
                .await;
        };
        if let Some(billed) = idempotency::find(&mut *self.db.acquire().await?, request).await? {
            return Ok(billed);
        }
        let billed = self
            .bill_begun_minutes(billing.call_id, billing.user_id)
            .await?;
        let mut tx = self.db.begin().await?;
        if let KeyClaimOutcome::Before(billed) = idempotency::begin(&mut tx, request).await? {
            return Ok(billed);
        }
        idempotency::finish(&mut tx, request, &billed).await?;
        tx.commit().await?;
        Ok(billed)
    }

    async fn bill_begun_minutes(
        &self,
        call_id: i64,
        user_id: i64,
    ) -> Result<MinuteBillingOutcome, CallError> {
        let call = require_party(
            calls::find(&mut *self.db.acquire().await?, call_id).await?,
            user_id,
        )?;
        if call.phase != CallPhase::Active {
            return Err(CallError::NoSuchCall);
        }
        let mut after = call.clone();
        loop {
            after = match steps::next_due_step(&after, &self.terms.limits) {
                DueSagaStep::Charge => self.bill_next_minute(&after, user_id).await?,
                DueSagaStep::End(cause) => {
                    self.end_for_cause(call_id, cause).await;
                    return Err(CallError::NoSuchCall);
                }
                DueSagaStep::EndRing
                | DueSagaStep::Undo
                | DueSagaStep::Settle
                | DueSagaStep::Nothing => break,
            };
        }
        Ok(MinuteBillingOutcome {
            coins_deducted: after.coins_spent - call.coins_spent,
            remaining_coins: self.load_remaining_coins(&call, user_id).await,
            total_coins_spent: after.coins_spent,
            minutes_billed: after.minutes_billed,
        })
    }

    async fn bill_next_minute(&self, call: &Call, asking_user_id: i64) -> Result<Call, CallError> {
        let charge = self.charge_minute(call, call.minutes_billed + 1).await?;
        self.apply_charges(std::slice::from_ref(call), &[charge])
            .await?;
        match charge {
            MinuteChargeOutcome::Insufficient {
                required_coins,
                available_coins,
            } if asking_user_id == call.user_id => {
                return Err(CallError::InsufficientCoins {
                    required: required_coins,
                    available: available_coins,
                });
            }
            MinuteChargeOutcome::Insufficient { .. } => return Err(CallError::CallerOutOfCoins),
            MinuteChargeOutcome::Paid { .. } | MinuteChargeOutcome::Voided => {}
        }
        // The sweeper may have recorded the minute first, or the call may have ended meanwhile.
        calls::find(&mut *self.db.acquire().await?, call.call_id)
            .await?
            .filter(|call| call.phase == CallPhase::Active)
            .ok_or(CallError::NoSuchCall)
    }

    /// Bills the next minute of these calls in one request; returns how many calls ended because of it.
    pub(super) async fn bill_due_calls(&self, due: Vec<Call>) -> usize {
        let minutes = due
            .iter()
            .map(|call| build_charge_request(call, call.minutes_billed + 1));
        match self.peers.charge_minutes(minutes.collect()).await {
            Ok(charges) => {
                failpoint::reach("calls.bill.charged");
                self.apply_charges_best_effort(&due, &charges).await
            }
            Err(error) if is_wallet_unavailable(&error) => {
                tracing::warn!(
                    %error,
                    calls = due.len(),
                    "failed to charge minutes: the wallet is unavailable; the sweeper will retry"
                );
                0
            }
            // One invalid charge fails the whole batch; the other calls must not end because of it.
            Err(error) => {
                tracing::error!(
                    %error,
                    calls = due.len(),
                    "failed to charge a batch of minutes; billing its calls one by one"
                );
                sum_concurrently(due, |call| self.bill_one(call)).await
            }
        }
    }

    async fn bill_one(&self, call: Call) -> usize {
        match self.charge_minute(&call, call.minutes_billed + 1).await {
            Ok(charge) => self.apply_charges_best_effort(&[call], &[charge]).await,
            Err(error) => {
                tracing::error!(
                    %error,
                    call_id = call.call_id,
                    "failed to charge a minute; the sweeper will retry"
                );
                0
            }
        }
    }

    async fn apply_charges_best_effort(
        &self,
        billed: &[Call],
        charges: &[MinuteChargeOutcome],
    ) -> usize {
        match self
            .apply_charges(billed, charges)
            .await
            .map_err(Error::from)
        {
            Ok(ended) => ended,
            Err(error) => {
                tracing::warn!(
                    %error,
                    calls = billed.len(),
                    "failed to record charged minutes; the sweeper will record them again"
                );
                0
            }
        }
    }

    /// Records the charged minutes with their events and ends the calls that are out of coins; returns how
    /// many ended.
    async fn apply_charges(
        &self,
        billed: &[Call],
        charges: &[MinuteChargeOutcome],
    ) -> Result<usize, CallError> {
        let mut paid = Vec::new();
        let mut unpaid = Vec::new();
        for (call, charge) in billed.iter().zip(charges) {
            match steps::evaluate_next_charge(call, *charge) {
                MinuteBillingDecision::Record(minute) => paid.push((call.call_id, minute)),
                MinuteBillingDecision::End(cause) => unpaid.push((call.call_id, cause)),
            }
        }
        let recorded = self.record_minutes(&paid).await;
        let ended = self.end_for_causes(unpaid).await;
        recorded.map(|()| ended)
    }

    async fn record_minutes(&self, paid: &[(i64, PaidMinute)]) -> Result<(), CallError> {
        if paid.is_empty() {
            return Ok(());
        }
        let mut tx = self.db.begin().await?;
        let recorded = calls::record_minutes(&mut tx, paid).await?;
        let minutes: HashMap<i64, PaidMinute> = paid.iter().copied().collect();
        let events = recorded
            .iter()
            .flat_map(|call| events::minute_billed(call, minutes[&call.call_id]));
        outbox::append_all(&mut tx, self.clock.now(), events.collect()).await?;
        failpoint::reach("calls.bill.before_recorded");
        tx.commit().await?;
        failpoint::reach("calls.bill.recorded");
        self.relay.wake();
        metrics::record_billed_minutes(&recorded);
        Ok(())
    }

    /// Charges one minute of a call, counted from 1. Concurrent charges share a request to the wallet.
    pub(super) async fn charge_minute(
        &self,
        call: &Call,
        minute: i32,
    ) -> Result<MinuteChargeOutcome, Error> {
        self.steps
            .charge
            .submit(build_charge_request(call, minute))
            .await
    }

    /// Ends calls for the given causes, a bounded number at a time; returns how many ended
    /// now.
    pub(crate) async fn end_for_causes(&self, causes: Vec<(i64, CallEndCause)>) -> usize {
        sum_concurrently(causes, |(call_id, cause)| {
            self.end_for_cause(call_id, cause)
        })
        .await
    }
}

/// Whether the wallet is unavailable, in which case a retry one by one cannot succeed either.
fn is_wallet_unavailable(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded
    )
}
