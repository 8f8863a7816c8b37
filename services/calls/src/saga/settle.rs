//! Closing the books of an ended call.

use talktime_kit::{Error, failpoint};
use talktime_proto::wallet::v1::charge_response::Outcome;

use super::Calls;
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::store::calls::{self, Receipt};

/// A call whose books are closed.
pub(super) struct Settlement {
    /// The call as it stays.
    pub(super) call: Call,
    /// The caller's coins right after it.
    pub(super) remaining_coins: i64,
}

impl Calls {
    /// Settles a call: begun minutes are charged, then the listener is paid for every paid minute.
    pub(super) async fn settle(&self, call: &Call) -> Result<Settlement, CallError> {
        let paid = self.charge_begun_minutes(call).await?;
        let minutes =
            calls::decide_minutes(&mut *self.db.acquire().await?, call.call_id, paid).await?;
        failpoint::reach("calls.settle.decided");
        let settled = self.peers.settle(call, minutes).await?;
        failpoint::reach("calls.settle.settled");
        let receipt = Receipt {
            minutes,
            coins_spent: settled.coins_spent,
            user_paise_spent: settled.coins_spent * self.terms.paise_per_coin,
            listener_paise_earned: settled.listener_paise_earned,
        };
        let call = calls::settle(&mut *self.db.acquire().await?, call.call_id, receipt)
            .await?
            .ok_or_else(|| Error::internal("an ended call is neither settling nor settled"))?;
        Ok(Settlement {
            call,
            remaining_coins: settled.caller_balance_coins,
        })
    }

    /// Charges what had begun and was not billed when the call ended; answers how many minutes are
    /// paid. Coins may not suffice: then the call ended with its last paid minute.
    async fn charge_begun_minutes(&self, call: &Call) -> Result<i32, CallError> {
        let begun = call.duration_minutes.unwrap_or(1);
        for minute in (call.minutes_billed + 1)..=begun {
            match self.peers.charge(call, minute).await? {
                Outcome::Charged(_) => {}
                Outcome::Insufficient(_) | Outcome::Voided(_) => return Ok(minute - 1),
            }
        }
        Ok(begun)
    }
}
