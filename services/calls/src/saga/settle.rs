//! Closing the books of an ended call.

use sqlx::PgPool;
use talktime_kit::group::{Member, Work};
use talktime_kit::{Error, failpoint};

use super::Calls;
use super::together::by_id;
use crate::domain::CallError;
use crate::domain::call::{Call, Phase};
use crate::domain::steps::{self, Settling};
use crate::store::calls::{self, Receipt};

/// Ended calls, whose money has moved, are closed together.
pub(super) struct Closing {
    pub(super) db: PgPool,
}

impl Work for Closing {
    type Task = (i64, Receipt);
    /// None when somebody was faster.
    type Answer = Option<Call>;
    type Error = CallError;

    async fn work(&self, group: &[Member<(i64, Receipt)>]) -> Result<Vec<Option<Call>>, CallError> {
        let receipts: Vec<(i64, Receipt)> = group.iter().map(|member| member.task).collect();
        let mut connection = self.db.acquire().await?;
        let mut closed = by_id(calls::close(&mut connection, &receipts).await?);
        let answers = receipts.iter().map(|(call_id, _)| closed.remove(call_id));
        Ok(answers.collect())
    }
}

/// A call whose books are closed.
pub(super) struct Settlement {
    /// The call as it stays.
    pub(super) call: Call,
    /// The caller's coins right after it.
    pub(super) remaining_coins: i64,
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
        let settled = self.peers.settle(call, minutes).await?;
        failpoint::reach("calls.settle.settled");
        let receipt = Receipt {
            minutes,
            coins_spent: settled.coins_spent,
            user_paise_spent: settled.coins_spent * self.terms.paise_per_coin,
            listener_paise_earned: settled.listener_paise_earned,
        };
        let call = self.close(call.call_id, receipt).await?;
        failpoint::reach("calls.settle.closed");
        Ok(Settlement {
            call,
            remaining_coins: settled.caller_balance_coins,
        })
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

    /// Writes the receipt, unless somebody was faster: then theirs says the same.
    async fn close(&self, call_id: i64, receipt: Receipt) -> Result<Call, CallError> {
        if let Some(call) = self.together.closing.ask((call_id, receipt)).await? {
            return Ok(call);
        }
        let settled = calls::find(&mut *self.db.acquire().await?, call_id).await?;
        let settled = settled.filter(|call| call.phase == Phase::Settled);
        Ok(settled
            .ok_or_else(|| Error::internal("an ended call is neither settling nor settled"))?)
    }

    /// Decides how many minutes count, once what had begun is charged as far as coins suffice.
    async fn decide_minutes(&self, call: &Call) -> Result<i32, CallError> {
        let paid = self.charge_begun_minutes(call).await?;
        let mut connection = self.db.acquire().await?;
        Ok(calls::decide_minutes(&mut connection, call.call_id, paid).await?)
    }

    /// Charges what had begun and was not billed when the call ended; answers how many minutes are
    /// paid and count.
    async fn charge_begun_minutes(&self, call: &Call) -> Result<i32, CallError> {
        let mut next = steps::settling(call, call.minutes_billed);
        loop {
            match next {
                Settling::Close(minutes) => return Ok(minutes),
                Settling::Charge(minute) => {
                    let charge = self.peers.charge(call, minute).await?;
                    next = steps::settling_after(call, minute, charge);
                }
            }
        }
    }
}
