//! Settling an ended call: charge the minutes that had begun, then close the books.

use talktime_kit::{Error, failpoint};

use super::steps::settle::SettledCall;
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps;
use crate::peers::build_settle_request;
use crate::service::CallService;
use crate::store::calls;

impl CallService {
    /// Settles a call: begun minutes are charged, then the listener is paid for every paid minute. A
    /// call that is settled already has the same answer again.
    pub(super) async fn settle(&self, call: &Call) -> Result<SettledCall, CallError> {
        let minutes = match call.minutes_settled {
            Some(minutes) => minutes,
            None => self.decide_minutes(call).await?,
        };
        failpoint::reach("calls.settle.decided");
        self.steps
            .settle
            .ask(build_settle_request(call, minutes))
            .await
    }

    /// Settles a call that ended by itself; the sweeper tries again where that fails. Answers how many
    /// were settled.
    pub(super) async fn settle_best_effort(&self, call: Call) -> usize {
        match self.settle(&call).await.map_err(Error::from) {
            Ok(_) => 1,
            Err(error) => {
                tracing::warn!(%error, call_id = call.call_id, "the settlement waits");
                0
            }
        }
    }

    /// Decides how many minutes count, once what had begun is charged as far as coins suffice.
    async fn decide_minutes(&self, call: &Call) -> Result<i32, CallError> {
        let paid = self.charge_begun_minutes(call).await?;
        let mut tx = self.db.begin().await?;
        let decided = calls::decide_minutes(&mut tx, call.call_id, paid).await?;
        let decided = decided.ok_or_else(|| Error::internal("an ended call is gone"))?;
        tx.commit().await?;
        Ok(decided)
    }

    /// Charges what had begun and was not billed when the call ended; answers how many minutes are
    /// paid and count.
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
