//! Ending a call: people are free at once, the books are closed after.

use talktime_kit::messaging::outbox;
use talktime_kit::{Error, failpoint};
use talktime_proto::events::v1::CallEnded;
use talktime_proto::events::v1::event::Kind;
use tracing::Instrument;

use super::{Calls, LEASE_SECS, as_party};
use crate::domain::CallError;
use crate::domain::billing::duration;
use crate::domain::call::{Call, Phase, Status};
use crate::store::calls::Ending;
use crate::store::{calls, live_parties};

/// A call that has ended and is settled.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The call as it stays.
    pub call: Call,
    /// What the caller had paid for the coins spent, in paise.
    pub user_paise_spent: i64,
    /// The caller's coins, for the caller.
    pub remaining_coins: Option<i64>,
}

/// When a live call ends.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// Now: somebody hung up.
    Now,
    /// At the end of this paid minute: the next could not be paid. A call that has paid another
    /// minute meanwhile goes on.
    EndOfMinute(i32),
}

impl Calls {
    /// Ends a call for one of its parties and settles it. Asked again while the wallet is away it
    /// tries to settle again; once settled there is nothing to end.
    pub async fn end(
        &self,
        call_id: i64,
        user_id: i64,
        status: Status,
    ) -> Result<Ended, CallError> {
        let call = as_party(
            calls::find(&mut *self.db.acquire().await?, call_id).await?,
            user_id,
        )?;
        let settling = match call.phase {
            Phase::Active => self.end_live(call_id, At::Now, status).await?,
            Phase::Settling => Some(call),
            Phase::Reserving | Phase::Undoing | Phase::Settled => None,
        };
        let settling = settling.ok_or(CallError::NoSuchCall)?;
        let settled = self.settle(&settling).await?;
        let user_paise_spent = settled.call.coins_spent * self.terms.paise_per_coin;
        let remaining_coins = (settled.call.user_id == user_id).then_some(settled.remaining_coins);
        Ok(Ended {
            call: settled.call,
            user_paise_spent,
            remaining_coins,
        })
    }

    /// Ends a live call and frees its people; answers it in `settling`, or none when it is not live
    /// and not settling.
    pub(super) async fn end_live(
        &self,
        call_id: i64,
        at: At,
        status: Status,
    ) -> Result<Option<Call>, CallError> {
        let mut tx = self.db.begin().await?;
        let Some(call) = calls::lock(&mut tx, call_id).await? else {
            return Ok(None);
        };
        if call.phase != Phase::Active {
            return Ok((call.phase == Phase::Settling).then_some(call));
        }
        let Some(ending) = self.ending(&call, at, status) else {
            return Ok(None);
        };
        let ended = calls::begin_settling(&mut tx, call_id, ending, LEASE_SECS).await?;
        live_parties::free(&mut tx, call_id).await?;
        let event = call_ended(&ended, ending);
        outbox::append(&mut tx, call_id, ended.version, self.clock.now(), event).await?;
        failpoint::reach("calls.end.before_settling");
        tx.commit().await?;
        failpoint::reach("calls.end.settling");
        self.relay.wake();
        metrics::counter!("calls_ended_total", "status" => status.word()).increment(1);
        self.show_ended(ended.clone());
        Ok(Some(ended))
    }

    /// Tells presence and Redis in the background: neither the books nor the next call wait for them.
    fn show_ended(&self, call: Call) {
        let Self {
            peers, tracking, ..
        } = self.clone();
        let show = async move {
            tokio::join!(peers.show_free(&call), tracking.hide(call.call_id));
        };
        tokio::spawn(show.in_current_span());
    }

    /// Settles a call that ended by itself; the sweeper tries again where that fails.
    pub(super) async fn settle_at_best(&self, call: &Call) {
        if let Err(error) = self.settle(call).await.map_err(Error::from) {
            tracing::warn!(%error, call_id = call.call_id, "the settlement waits");
        }
    }

    /// How this live call ends; none when it goes on. Whoever hangs up long after the last paid
    /// minute hangs up on silence: nobody was billed meanwhile, so the service was away.
    fn ending(&self, call: &Call, at: At, status: Status) -> Option<Ending> {
        let paid_until = call.paid_until()?;
        let end_time = match at {
            At::Now if call.is_beyond(self.terms.unpaid_grace) => paid_until,
            At::Now => call.read_at,
            At::EndOfMinute(minute) if minute == call.minutes_billed => paid_until,
            At::EndOfMinute(_) => return None,
        };
        let duration = duration(call.start_time?, end_time, call.minute_secs);
        Some(Ending {
            end_time,
            duration,
            status,
        })
    }
}

fn call_ended(call: &Call, ending: Ending) -> Kind {
    Kind::CallEnded(CallEnded {
        call_id: call.call_id,
        user_id: call.user_id,
        listener_id: call.listener_id,
        call_type: call.call_type.word().to_owned(),
        status: ending.status.word().to_owned(),
        duration_seconds: ending.duration.seconds,
        duration_minutes: ending.duration.minutes,
    })
}
