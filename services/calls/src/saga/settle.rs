//! Closing the books of an ended call.

use talktime_kit::db::Database;
use talktime_kit::group::{Member, Work};
use talktime_kit::{Error, failpoint};
use talktime_proto::wallet::v1::{SettleCallRequest, SettleCallResponse};

use super::Calls;
use super::together::{by_id, in_time, traced};
use crate::domain::CallError;
use crate::domain::call::{Call, Phase};
use crate::domain::steps;
use crate::peers::{Peers, settle_request};
use crate::store::calls::{self, Receipt};

/// Ended calls whose books are closed together.
pub(super) struct Settling {
    pub(super) db: Database,
    pub(super) peers: Peers,
    pub(super) paise_per_coin: i64,
}

/// A call whose books are closed.
pub(super) struct Settlement {
    /// The call as it stays.
    pub(super) call: Call,
    /// The caller's coins right after it.
    pub(super) remaining_coins: i64,
}

impl Work for Settling {
    type Task = SettleCallRequest;
    type Answer = Settlement;
    type Error = CallError;

    async fn work(
        &self,
        group: &[Member<SettleCallRequest>],
    ) -> Result<Vec<Settlement>, CallError> {
        let requests = traced(group, |request, traceparent| SettleCallRequest {
            traceparent,
            ..request
        });
        let settled = in_time(self.peers.settle(requests)).await?;
        failpoint::reach("calls.settle.settled");
        let receipts = group.iter().zip(&settled);
        let receipts: Vec<(i64, Receipt)> = receipts
            .map(|(member, settled)| (member.task.call_id, self.receipt(&member.task, settled)))
            .collect();
        let closed = self.close(&receipts).await?;
        failpoint::reach("calls.settle.closed");
        let closed = closed.into_iter().zip(settled);
        Ok(closed
            .map(|(call, settled)| Settlement {
                call,
                remaining_coins: settled.caller_balance_coins,
            })
            .collect())
    }

    fn is_everyones(error: &CallError) -> bool {
        matches!(error, CallError::Failed(error) if error.is_unreachable())
    }
}

impl Settling {
    fn receipt(&self, request: &SettleCallRequest, settled: &SettleCallResponse) -> Receipt {
        Receipt {
            minutes: request.minutes,
            coins_spent: settled.coins_spent,
            user_paise_spent: settled.coins_spent * self.paise_per_coin,
            listener_paise_earned: settled.listener_paise_earned,
        }
    }

    /// Writes the receipts. Where somebody was faster, theirs says the same.
    async fn close(&self, receipts: &[(i64, Receipt)]) -> Result<Vec<Call>, CallError> {
        let mut tx = self.db.begin().await?;
        let mut closed = by_id(calls::close(&mut tx, receipts).await?);
        let mut all = Vec::with_capacity(receipts.len());
        for (call_id, _) in receipts {
            let call = match closed.remove(call_id) {
                Some(call) => Some(call),
                None => calls::find(&mut tx, *call_id).await?,
            };
            let settled = call.filter(|call| call.phase == Phase::Settled);
            all.push(
                settled.ok_or_else(|| {
                    Error::internal("an ended call is neither settling nor settled")
                })?,
            );
        }
        tx.commit().await?;
        Ok(all)
    }
}

impl Calls {
    /// Settles a call: begun minutes are charged, then the listener is paid for every paid minute. A
    /// call that is settled already has the same answer again.
    pub(super) async fn settle(&self, call: &Call) -> Result<Settlement, CallError> {
        let minutes = match call.minutes_settled {
            Some(minutes) => minutes,
            None => self.decide_minutes(call).await?,
        };
        failpoint::reach("calls.settle.decided");
        self.together
            .settling
            .ask(settle_request(call, minutes))
            .await
    }

    /// Settles a call that ended by itself; the sweeper tries again where that fails. Answers how many
    /// were settled.
    pub(super) async fn settle_at_best(&self, call: Call) -> usize {
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
        let mut next = steps::settling(call, call.minutes_billed);
        loop {
            match next {
                steps::Settling::Close(minutes) => return Ok(minutes),
                steps::Settling::Charge(minute) => {
                    let charge = self.charge(call, minute).await?;
                    next = steps::settling_after(call, minute, charge);
                }
            }
        }
    }
}
