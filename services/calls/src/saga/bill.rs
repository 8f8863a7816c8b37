//! Charging minutes as they begin.

use talktime_kit::messaging::outbox;
use talktime_kit::{Error, failpoint};
use talktime_proto::events::v1::MinuteBilled;
use talktime_proto::events::v1::event::Kind;
use talktime_proto::wallet::v1::charge_response::Outcome;

use super::end::At;
use super::{Calls, as_party};
use crate::domain::CallError;
use crate::domain::call::{Call, Phase, Status};
use crate::store::calls;

/// What a client's nudge came to.
#[derive(Clone, Copy, Debug)]
pub struct Billed {
    /// Coins taken by it: none when nothing was due.
    pub coins_deducted: i64,
    /// The caller's coins, for the caller.
    pub remaining_coins: Option<i64>,
    /// Coins of the call so far.
    pub total_coins_spent: i64,
    /// Minutes of the call so far.
    pub minutes_billed: i32,
}

impl Calls {
    /// Bills what is due of one call now, by the same step that the sweeper takes. Out of coins ends
    /// the call.
    pub async fn bill_minute(&self, call_id: i64, user_id: i64) -> Result<Billed, CallError> {
        let call = as_party(
            calls::find(&mut *self.db.acquire().await?, call_id).await?,
            user_id,
        )?;
        if call.phase != Phase::Active {
            return Err(CallError::NoSuchCall);
        }
        let mut after = call.clone();
        while after
            .paid_until()
            .is_some_and(|paid_until| paid_until <= self.clock.now())
        {
            after = self.bill_next_minute(&after).await?;
        }
        Ok(Billed {
            coins_deducted: after.coins_spent - call.coins_spent,
            remaining_coins: self.remaining_coins(&call, user_id).await,
            total_coins_spent: after.coins_spent,
            minutes_billed: after.minutes_billed,
        })
    }

    async fn bill_next_minute(&self, call: &Call) -> Result<Call, CallError> {
        let outcome = self.peers.charge(call, call.minutes_billed + 1).await?;
        self.apply(std::slice::from_ref(call), std::slice::from_ref(&outcome))
            .await?;
        if let Outcome::Insufficient(short) = outcome {
            return Err(CallError::InsufficientCoins {
                required: short.required_coins,
                available: short.available_coins,
            });
        }
        // Whoever was faster may have recorded the minute, or ended the call.
        calls::find(&mut *self.db.acquire().await?, call.call_id)
            .await?
            .filter(|call| call.phase == Phase::Active)
            .ok_or(CallError::NoSuchCall)
    }

    /// Bills the next minute of calls that are due, together. When the wallet does not answer, calls
    /// go on for the configured grace and end then at the end of their paid time.
    pub(super) async fn bill_due(&self, due: &[Call]) {
        match self.peers.charge_next_minutes(due).await {
            Ok(outcomes) => {
                failpoint::reach("calls.bill.charged");
                if let Err(error) = self.apply(due, &outcomes).await {
                    let error = Error::from(error);
                    tracing::warn!(%error, "minutes were charged and will be recorded again");
                }
            }
            Err(error) => {
                tracing::warn!(%error, calls = due.len(), "minutes could not be charged yet");
                self.end_beyond_grace(due).await;
            }
        }
    }

    /// Records what was charged, tells it, and ends the calls that are out of coins.
    async fn apply(&self, billed: &[Call], outcomes: &[Outcome]) -> Result<(), CallError> {
        let mut call_ids = Vec::new();
        let mut minutes = Vec::new();
        let mut balances = Vec::new();
        for (call, outcome) in billed.iter().zip(outcomes) {
            if let Outcome::Charged(charged) = outcome {
                call_ids.push(call.call_id);
                minutes.push(call.minutes_billed + 1);
                balances.push((call.call_id, charged.balance_coins));
            }
        }
        self.record(&call_ids, &minutes, &balances).await?;
        for (call, outcome) in billed.iter().zip(outcomes) {
            if !matches!(outcome, Outcome::Charged(_)) {
                self.end_live(call.call_id, At::PaidUntil, Status::Dropped)
                    .await?;
            }
        }
        Ok(())
    }

    async fn record(
        &self,
        call_ids: &[i64],
        minutes: &[i32],
        balances: &[(i64, i64)],
    ) -> Result<(), CallError> {
        if call_ids.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        let recorded = calls::record_minutes(&mut tx, call_ids, minutes, now).await?;
        let events = recorded.iter().map(|call| {
            let balance = balances
                .iter()
                .find(|(call_id, _)| *call_id == call.call_id);
            let remaining_coins = balance.map_or(0, |(_, coins)| *coins);
            (
                call.call_id,
                call.version,
                Kind::MinuteBilled(minute_billed(call, remaining_coins)),
            )
        });
        outbox::append_all(&mut tx, now, events.collect()).await?;
        failpoint::reach("calls.bill.before_recorded");
        tx.commit().await?;
        failpoint::reach("calls.bill.recorded");
        self.relay.wake();
        metrics::counter!("minutes_billed_total").increment(recorded.len() as u64);
        Ok(())
    }

    async fn end_beyond_grace(&self, due: &[Call]) {
        let latest = self.clock.now() - self.terms.unpaid_grace;
        for call in due
            .iter()
            .filter(|call| call.paid_until().is_some_and(|paid| paid < latest))
        {
            let ended = self
                .end_live(call.call_id, At::PaidUntil, Status::Dropped)
                .await;
            if let Err(error) = ended.map_err(Error::from) {
                tracing::warn!(%error, call_id = call.call_id, "an unpaid call goes on");
            }
        }
    }
}

fn minute_billed(call: &Call, remaining_coins: i64) -> MinuteBilled {
    MinuteBilled {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.word().to_owned(),
        minute: call.minutes_billed,
        coins_spent: call.coins_spent,
        remaining_coins,
    }
}
