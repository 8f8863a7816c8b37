//! Charging minutes as they begin.

use futures::{StreamExt, stream};
use talktime_kit::messaging::outbox;
use talktime_kit::{Error, Kind, failpoint};
use talktime_proto::events::v1::MinuteBilled;
use talktime_proto::events::v1::event::Kind as EventKind;
use talktime_proto::wallet::v1::charge_response::Outcome;

use super::end::At;
use super::{CONCURRENCY, Calls, as_party};
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
        while after.is_due() {
            after = self.bill_next_minute(&after, user_id).await?;
        }
        Ok(Billed {
            coins_deducted: after.coins_spent - call.coins_spent,
            remaining_coins: self.remaining_coins(&call, user_id).await,
            total_coins_spent: after.coins_spent,
            minutes_billed: after.minutes_billed,
        })
    }

    async fn bill_next_minute(&self, call: &Call, asked_by: i64) -> Result<Call, CallError> {
        if call.is_beyond(self.terms.unpaid_grace) {
            self.end_unpaid(call).await;
            return Err(CallError::NoSuchCall);
        }
        let outcome = self.peers.charge(call, call.minutes_billed + 1).await?;
        self.apply(std::slice::from_ref(call), std::slice::from_ref(&outcome))
            .await?;
        match outcome {
            Outcome::Insufficient(short) if asked_by == call.user_id => {
                return Err(CallError::InsufficientCoins {
                    required: short.required_coins,
                    available: short.available_coins,
                });
            }
            Outcome::Insufficient(_) => return Err(CallError::CallerOutOfCoins),
            Outcome::Charged(_) | Outcome::Voided(_) => {}
        }
        // Whoever was faster may have recorded the minute, or ended the call.
        calls::find(&mut *self.db.acquire().await?, call.call_id)
            .await?
            .filter(|call| call.phase == Phase::Active)
            .ok_or(CallError::NoSuchCall)
    }

    /// Bills the next minute of calls that are due, together. A call whose minute could not be
    /// charged for the configured grace, because the wallet or this service was away, has ended at
    /// the end of its paid time.
    pub(super) async fn bill_due(&self, due: Vec<Call>) {
        let grace = self.terms.unpaid_grace;
        let (silent, due): (Vec<Call>, Vec<Call>) =
            due.into_iter().partition(|call| call.is_beyond(grace));
        each(&silent, |call| self.end_unpaid(call)).await;
        if due.is_empty() {
            return;
        }
        match self.peers.charge_next_minutes(&due).await {
            Ok(outcomes) => {
                failpoint::reach("calls.bill.charged");
                if let Err(error) = self.apply(&due, &outcomes).await.map_err(Error::from) {
                    tracing::warn!(%error, "minutes were charged and will be recorded again");
                }
            }
            Err(error) if is_away(&error) => {
                tracing::warn!(%error, calls = due.len(), "minutes could not be charged yet");
            }
            // One of them spoils the batch: it must not spoil the others' calls.
            Err(error) => {
                tracing::error!(%error, calls = due.len(), "a batch was refused; billing singly");
                each(&due, |call| self.bill_singly(call)).await;
            }
        }
    }

    async fn bill_singly(&self, call: &Call) {
        let billed = async {
            let outcome = self.peers.charge(call, call.minutes_billed + 1).await?;
            self.apply(std::slice::from_ref(call), std::slice::from_ref(&outcome))
                .await
        };
        if let Err(error) = billed.await.map_err(Error::from) {
            tracing::error!(%error, call_id = call.call_id, "a minute could not be charged");
        }
    }

    /// Records what was charged, tells it, and ends the calls that are out of coins.
    async fn apply(&self, billed: &[Call], outcomes: &[Outcome]) -> Result<(), CallError> {
        let mut call_ids = Vec::new();
        let mut minutes = Vec::new();
        let mut balances = Vec::new();
        let mut unpaid = Vec::new();
        for (call, outcome) in billed.iter().zip(outcomes) {
            if let Outcome::Charged(charged) = outcome {
                call_ids.push(call.call_id);
                minutes.push(call.minutes_billed + 1);
                balances.push((call.call_id, charged.balance_coins));
            } else {
                unpaid.push(call.clone());
            }
        }
        let recorded = self.record(&call_ids, &minutes, &balances).await;
        each(&unpaid, |call| self.end_unpaid(call)).await;
        recorded
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
        let mut tx = self.db.begin().await?;
        let recorded = calls::record_minutes(&mut tx, call_ids, minutes).await?;
        let events = recorded.iter().map(|call| {
            let balance = balances
                .iter()
                .find(|(call_id, _)| *call_id == call.call_id);
            let remaining_coins = balance.map_or(0, |(_, coins)| *coins);
            (
                call.call_id,
                call.version,
                EventKind::MinuteBilled(minute_billed(call, remaining_coins)),
            )
        });
        outbox::append_all(&mut tx, self.clock.now(), events.collect()).await?;
        failpoint::reach("calls.bill.before_recorded");
        tx.commit().await?;
        failpoint::reach("calls.bill.recorded");
        self.relay.wake();
        metrics::counter!("minutes_billed_total").increment(recorded.len() as u64);
        Ok(())
    }

    /// Ends a call at the end of its last paid minute, unless it has paid another one meanwhile. The
    /// sweeper settles it.
    async fn end_unpaid(&self, call: &Call) {
        let at = At::EndOfMinute(call.minutes_billed);
        let ended = self.end_live(call.call_id, at, Status::Dropped).await;
        match ended.map_err(Error::from) {
            Ok(Some(ended)) => self.settle_at_best(&ended).await,
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, call_id = call.call_id, "an unpaid call is ended later");
            }
        }
    }
}

/// Whether the wallet did not answer at all.
fn is_away(error: &Error) -> bool {
    matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded)
}

/// Does one thing with each of many calls, a bounded number at once.
async fn each<'a, F: Future<Output = ()>>(calls: &'a [Call], act: impl FnMut(&'a Call) -> F) {
    stream::iter(calls)
        .for_each_concurrent(CONCURRENCY, act)
        .await;
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
