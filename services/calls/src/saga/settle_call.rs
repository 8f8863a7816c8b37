//! Settles an ended call: charges the minutes that had begun, then pays the listener and closes the call.

use talktime_kit::{Error, failpoint};
use tracing::Instrument;

use super::steps::settle::SettledCall;
use crate::domain::CallError;
use crate::domain::call::{Call, CallMedia};
use crate::domain::steps;
use crate::media::judge_minutes::{judge_minutes, load_returns};
use crate::metrics;
use crate::peers::build_settle_request;
use crate::service::CallService;
use crate::store::calls;

impl CallService {
    /// Settles an ended call: charges the minutes that had begun, then pays the listener for every paid
    /// minute. A call that is settled already has the same outcome again.
    pub(super) async fn settle_call(&self, call: &Call) -> Result<SettledCall, CallError> {
        let minutes = match call.minutes_settled {
            Some(minutes) => minutes,
            None => self.decide_minutes(call).await?,
        };
        let returns = load_returns(&self.db, call).await?;
        failpoint::reach("calls.settle.decided");
        self.steps
            .settle
            .submit(build_settle_request(call, minutes, returns))
            .await
    }

    /// Settles a call without a waiting request; if that fails, the sweeper retries. Returns how many were
    /// settled.
    pub(super) async fn settle_best_effort(&self, call: Call) -> usize {
        match self.settle_call(&call).await.map_err(Error::from) {
            Ok(_) => 1,
            Err(error) => {
                tracing::warn!(
                    %error,
                    call_id = call.call_id,
                    "failed to settle a call; the sweeper will retry"
                );
                0
            }
        }
    }

    /// Settles a call that has just ended without a request. That of a call with relays waits for their totals, so it
    /// runs in the background: other calls of the sweeper do not wait for it.
    pub(super) async fn settle_ended(&self, call: Call) {
        match call.media {
            CallMedia::Own => {
                self.settle_best_effort(call).await;
            }
            CallMedia::Platform => self.settle_in_background(call),
        }
    }

    /// Settles a call in the background; if that fails, the sweeper retries.
    pub(super) fn settle_in_background(&self, call: Call) {
        let service = self.clone();
        let settle = async move {
            service.settle_best_effort(call).await;
        };
        self.lifecycle.spawn(settle.in_current_span());
    }

    /// Decides how many minutes count, after charging the begun ones as far as the coins suffice, and which of
    /// them had sound.
    async fn decide_minutes(&self, call: &Call) -> Result<i32, CallError> {
        let paid = self.charge_begun_minutes(call).await?;
        self.await_relay_totals(call).await?;
        let mut tx = self.db.begin().await?;
        let decided = calls::decide_minutes(&mut tx, call.call_id, paid).await?;
        let decided = decided.ok_or_else(|| {
            Error::internal("the row of an ended call is missing in calls.user_calls")
        })?;
        // Another replica that decides at the same time waits for the row, so the first decision holds.
        let verdicts = judge_minutes(&mut tx, call, decided).await?;
        tx.commit().await?;
        metrics::record_refunded_minutes(&verdicts);
        Ok(decided)
    }

    /// Charges the minutes that had begun but were not billed when the call ended; returns how many minutes
    /// are paid and count.
    async fn charge_begun_minutes(&self, call: &Call) -> Result<i32, CallError> {
        let mut next = steps::next_settlement_step(call, call.minutes_billed);
        loop {
            match next {
                steps::SettlementStep::Close(minutes) => return Ok(minutes),
                steps::SettlementStep::Charge(minute) => {
                    let charge = self.charge_minute(call, minute).await?;
                    next = steps::settlement_step_after_charge(call, minute, charge);
                }
            }
        }
    }
}
