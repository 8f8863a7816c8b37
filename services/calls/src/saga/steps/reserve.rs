//! The reserve step: writes the rows of new calls, which makes both parties busy.

use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::{DatabasePool, PgConnection};
use talktime_kit::idempotency::{self, KeyClaimOutcome};
use talktime_kit::messaging::{Relay, outbox};
use talktime_kit::{Clock, Error, failpoint};

use crate::domain::CallError;
use crate::domain::call::{Call, PlannedParties};
use crate::ring_events;
use crate::saga::bounds::LEASE_SECS;
use crate::saga::requests::{CallStartRequest, START_ROUTE, StartedCall};
use crate::saga::steps::check::CallParties;
use crate::saga::sweep_pace::SweepPace;
use crate::store::reservations::{self, NewCall};
use crate::store::ring_limits::{self, UnansweredRingLimits};
use crate::store::{barred_pairs, deleted_users};

/// Reserves a batch of new calls in one transaction.
pub(crate) struct ReserveBatchHandler {
    pub(crate) db: DatabasePool,
    pub(crate) relay: Relay,
    pub(crate) sweep_pace: SweepPace,
    pub(crate) clock: Clock,
    pub(crate) ring_limits: UnansweredRingLimits,
}

/// A new call and the request for it.
#[derive(Clone)]
pub(crate) struct ReservationRequest {
    pub(crate) call: NewCall,
    pub(crate) start: CallStartRequest,
    pub(crate) parties: CallParties,
}

impl ReservationRequest {
    fn idempotency(&self) -> Option<&idempotency::KeyedRequest> {
        self.start.idempotency.as_ref()
    }
}

/// The row in `reserving` or `ringing`, or the answer that the same request got before.
pub(crate) enum ReservationOutcome {
    Reserved(Box<Call>),
    /// The call rings; the answer is recorded under the idempotency key.
    Ringing(Box<Call>, StartedCall),
    Replayed(StartedCall),
}

impl ReservationOutcome {
    fn is_ringing(&self) -> bool {
        matches!(self, Self::Ringing(..))
    }
}

type ReservationAnswer = Result<ReservationOutcome, CallError>;

impl BatchHandler for ReserveBatchHandler {
    const NAME: &'static str = "reserve";
    type Task = ReservationRequest;
    type Answer = ReservationAnswer;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<ReservationRequest>],
    ) -> Result<Vec<ReservationAnswer>, CallError> {
        let requests: Vec<&BatchItem<ReservationRequest>> = group.iter().collect();
        let are_keyed = group
            .iter()
            .any(|member| member.task.idempotency().is_some());
        let mut tx = self.db.begin().await?;
        let answers = if are_keyed {
            self.reserve_under_keys(&mut tx, &requests).await?
        } else {
            self.reserve_calls(&mut tx, &requests).await?
        };
        failpoint::reach("calls.start.before_reserved");
        tx.commit().await?;
        self.sweep_pace.record_reservation();
        if answers.iter().flatten().any(ReservationOutcome::is_ringing) {
            failpoint::reach("calls.ring.reserved");
            self.relay.wake();
        }
        Ok(answers)
    }

    /// If a party is busy, each call of the batch is tried alone. After any other failure the commit may
    /// have succeeded, and a second attempt would find the parties busy with their own calls.
    fn fails_whole_batch(error: &CallError) -> bool {
        !matches!(error, CallError::OnACall)
    }
}

impl ReserveBatchHandler {
    async fn reserve_under_keys(
        &self,
        tx: &mut PgConnection,
        requests: &[&BatchItem<ReservationRequest>],
    ) -> Result<Vec<ReservationAnswer>, CallError> {
        let keys: Vec<&idempotency::KeyedRequest> = requests
            .iter()
            .filter_map(|request| request.task.idempotency())
            .collect();
        let mut seen = idempotency::begin_all(tx, &keys).await?.into_iter();
        let before: Vec<Option<ReservationAnswer>> = requests
            .iter()
            .map(
                |request| match request.task.idempotency().and_then(|_| seen.next()) {
                    Some(Ok(KeyClaimOutcome::Before(started))) => {
                        Some(Ok(ReservationOutcome::Replayed(started)))
                    }
                    Some(Err(error)) => Some(Err(error.into())),
                    Some(Ok(KeyClaimOutcome::First)) | None => None,
                },
            )
            .collect();
        let new = requests
            .iter()
            .zip(&before)
            .filter(|(_, before)| before.is_none());
        let new: Vec<&BatchItem<ReservationRequest>> = new.map(|(request, _)| *request).collect();
        let reserved = self.reserve_calls(tx, &new).await?;
        for (request, answer) in new.iter().zip(&reserved) {
            let Some(key) = request.task.idempotency() else {
                continue;
            };
            match answer {
                // A refusal is not recorded as the answer for the key, so that the client may try again.
                Err(_) => {
                    let user_id = request.task.call.user_id;
                    idempotency::release(tx, user_id, START_ROUTE, key.key()).await?;
                }
                Ok(ReservationOutcome::Ringing(_, started)) => {
                    idempotency::finish(tx, key, started).await?;
                }
                Ok(_) => {}
            }
        }
        let mut reserved = reserved.into_iter();
        let answers = before
            .into_iter()
            .map(|before| before.or_else(|| reserved.next()))
            .map(|answer| answer.unwrap_or_else(|| Err(missing_answer())));
        Ok(answers.collect())
    }

    /// Inserts the rows of the admitted calls, and appends an event for each call that rings.
    async fn reserve_calls(
        &self,
        tx: &mut PgConnection,
        requests: &[&BatchItem<ReservationRequest>],
    ) -> Result<Vec<ReservationAnswer>, CallError> {
        let mut answers = self.refuse_frequent_rings(tx, requests).await?;
        let admitted = requests.iter().zip(&answers);
        let admitted = admitted.filter(|(_, refusal)| refusal.is_none());
        let admitted: Vec<&ReservationRequest> = admitted.map(|(item, _)| &item.task).collect();
        let mut reserved = insert_calls(tx, &admitted).await?.into_iter();
        let mut events = Vec::new();
        for (request, answer) in requests.iter().zip(&mut answers) {
            if answer.is_none() {
                *answer = reserved.next();
            }
            if let Some(Ok(ReservationOutcome::Ringing(call, _))) = answer {
                let CallParties {
                    caller, listener, ..
                } = &request.task.parties;
                let event = ring_events::call_ringing(call, caller.clone(), listener.clone());
                events.push((event, request.traceparent.clone()));
            }
        }
        outbox::append_traced(tx, self.clock.now(), events).await?;
        let answers = answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|| Err(missing_answer())));
        Ok(answers.collect())
    }

    /// Returns a refusal for each ring whose caller has had too many unanswered rings lately.
    async fn refuse_frequent_rings(
        &self,
        tx: &mut PgConnection,
        requests: &[&BatchItem<ReservationRequest>],
    ) -> Result<Vec<Option<ReservationAnswer>>, CallError> {
        let rings = requests.iter().map(|item| &item.task.call);
        let rings = rings.filter(|call| call.ring.is_some());
        let rings = rings.map(|call| PlannedParties {
            caller_id: call.user_id,
            listener_id: call.listener_id,
        });
        let rings: Vec<PlannedParties> = rings.collect();
        let mut waiting_secs = match rings.as_slice() {
            [] => vec![],
            rings => ring_limits::load_waiting_secs(tx, rings, self.ring_limits).await?,
        }
        .into_iter();
        let refusals = requests.iter().map(|item| {
            item.task.call.ring?;
            let retry_after_secs = waiting_secs.next()??;
            Some(Err(CallError::RingLimit { retry_after_secs }))
        });
        Ok(refusals.collect())
    }
}

fn missing_answer() -> CallError {
    Error::internal("a requested call was neither reserved nor refused").into()
}

async fn insert_calls(
    tx: &mut PgConnection,
    requests: &[&ReservationRequest],
) -> Result<Vec<ReservationAnswer>, CallError> {
    let new: Vec<&NewCall> = requests.iter().map(|request| &request.call).collect();
    let reserved = match reservations::reserve(tx, &new, LEASE_SECS).await {
        Ok(reserved) => reserved,
        Err(error) if reservations::is_party_taken(&error) => return Err(CallError::OnACall),
        Err(error) => return Err(error.into()),
    };
    let refused = new.iter().zip(&reserved);
    let refused = refused.filter(|(_, call)| call.is_none());
    let refused: Vec<&NewCall> = refused.map(|(new, _)| *new).collect();
    let mut refusals = list_refusals(tx, &refused).await?.into_iter();
    let answers = requests.iter().zip(reserved);
    Ok(answers
        .map(|(request, call)| match call {
            Some(call) => Ok(reservation_outcome(request, call)),
            None => Err(refusals.next().unwrap_or(CallError::OnACall)),
        })
        .collect())
}

fn reservation_outcome(request: &ReservationRequest, call: Call) -> ReservationOutcome {
    if call.is_ring() {
        let coins = request.parties.caller_coins.unwrap_or_default();
        let started = StartedCall::unpaid(&call, &request.start, coins);
        ReservationOutcome::Ringing(Box::new(call), started)
    } else {
        ReservationOutcome::Reserved(Box::new(call))
    }
}

/// Returns why each of these calls was not reserved.
async fn list_refusals(
    tx: &mut PgConnection,
    refused: &[&NewCall],
) -> Result<Vec<CallError>, CallError> {
    if refused.is_empty() {
        return Ok(vec![]);
    }
    let parties = refused
        .iter()
        .flat_map(|new| [new.user_id, new.listener_id]);
    let barred = deleted_users::list_barred(tx, &parties.collect::<Vec<_>>()).await?;
    let mut refusals = Vec::with_capacity(refused.len());
    for new in refused {
        let pair = [new.user_id, new.listener_id];
        refusals.push(if barred.contains(&new.listener_id) {
            CallError::NoSuchListener
        } else if barred.contains(&new.user_id) {
            CallError::Undone
        } else if new.ring.is_some() && barred_pairs::is_barred(tx, pair).await? {
            CallError::Blocked
        } else {
            CallError::OnACall
        });
    }
    Ok(refusals)
}
