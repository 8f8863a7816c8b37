//! Takes a batch of accepts through all steps together. An accept that is refused on the way halts; the others
//! proceed.
//!
//! The order of the steps protects the money as at a start: the call is reserved for one session of the listener
//! before the first minute is charged, and it goes live only after the payment.

use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::db::DatabasePool;
use talktime_kit::failpoint;
use talktime_proto::events::v1::CallPeer;

use super::batching::{index_by_id, run_step};
use super::requests::{AcceptRingRequest, AcceptedCall};
use super::steps::charge::{ChargeBatchHandler, ChargedCall};
use super::steps::check_caller::{CallerCheckBatchHandler, CallerState};
use super::steps::go_live::{GoLiveBatchHandler, PaidCallStart};
use super::steps::reserve_ring::ReserveRingBatchHandler;
use crate::domain::CallError;
use crate::domain::call::{Call, CallMedia, CallPhase, PlannedParties};
use crate::domain::ending::EndingParty;
use crate::domain::limits::SagaTimeLimits;
use crate::domain::ringing::{self, RingEndCause};
use crate::domain::steps;
use crate::peers::build_charge_request;
use crate::store::calls;

/// Executes all steps of an accept for a batch.
pub(crate) struct AcceptBatchHandler {
    pub(crate) db: DatabasePool,
    pub(crate) check_caller: CallerCheckBatchHandler,
    pub(crate) reserve: ReserveRingBatchHandler,
    pub(crate) charge: ChargeBatchHandler,
    pub(crate) go_live: GoLiveBatchHandler,
    pub(crate) limits: SagaTimeLimits,
}

/// Reason why an accept leaves the batch early.
pub(crate) enum AcceptHalt {
    /// The accept was refused and changed nothing.
    Refused(CallError),
    /// The ring must end instead, since nobody would answer.
    RingEnds(RingEndCause),
    /// The session has accepted the call before, and this is what became of it.
    Repeated(Box<Call>),
    /// The first minute is paid, and the platform's media connects the parties next.
    Connecting(Box<AcceptedCall>),
    /// Another request has taken the last step, or the call is being undone.
    Overtaken,
    /// The accept failed after the call was reserved, so it must be undone.
    NeedsUndo { call: Box<Call>, error: CallError },
}

impl BatchHandler for AcceptBatchHandler {
    const NAME: &'static str = "accept";
    type Task = AcceptRingRequest;
    /// The live call.
    type Answer = Result<AcceptedCall, AcceptHalt>;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<AcceptRingRequest>],
    ) -> Result<Vec<Self::Answer>, CallError> {
        let found = self.find_calls(group).await?;
        let answering = self.check_callers(found).await;
        let reserved = self.reserve(answering).await;
        failpoint::reach("calls.accept.reserved");
        let paid = self.charge(reserved).await;
        failpoint::reach("calls.accept.charged");
        Ok(self.go_live(paid).await)
    }
}

/// An accept that has passed the previous steps; `state` is the result of the last one.
struct AcceptInProgress<'a, T> {
    member: &'a BatchItem<AcceptRingRequest>,
    /// The caller, once profile has answered.
    caller: Option<CallPeer>,
    state: T,
}

/// All accepts of a batch, in the order of their submission.
type AcceptBatchState<'a, T> = Vec<Result<AcceptInProgress<'a, T>, AcceptHalt>>;

impl AcceptBatchHandler {
    /// Finds the calls, which only their listeners may accept.
    async fn find_calls<'a>(
        &self,
        group: &'a [BatchItem<AcceptRingRequest>],
    ) -> Result<AcceptBatchState<'a, Call>, CallError> {
        let call_ids: Vec<i64> = group.iter().map(|member| member.task.call_id).collect();
        let mut connection = self.db.acquire().await?;
        let calls = index_by_id(calls::list_by_ids(&mut connection, &call_ids).await?);
        let found = group.iter().map(|member| {
            let call = calls.get(&member.task.call_id).cloned();
            let state = ringing::require_listener(call, member.task.user_id)
                .map_err(AcceptHalt::Refused)?;
            Ok(AcceptInProgress {
                member,
                caller: None,
                state,
            })
        });
        Ok(found.collect())
    }

    /// Halts the accepts of rings whose caller is gone or blocked. Peers that do not answer prevent nothing.
    async fn check_callers<'a>(
        &self,
        found: AcceptBatchState<'a, Call>,
    ) -> AcceptBatchState<'a, Call> {
        let parties = |progress: &AcceptInProgress<Call>| {
            progress
                .member
                .with_task(PlannedParties::of(&progress.state))
        };
        run_step(&self.check_caller, found, parties, |progress, caller| {
            let caller = caller.unwrap_or_default();
            match find_ring_end(&progress.state, &caller, &self.limits) {
                Some(cause) => Err(AcceptHalt::RingEnds(cause)),
                None => Ok(AcceptInProgress {
                    caller: caller.peer,
                    ..progress
                }),
            }
        })
        .await
    }

    async fn reserve<'a>(
        &self,
        answering: AcceptBatchState<'a, Call>,
    ) -> AcceptBatchState<'a, Call> {
        let request = |progress: &AcceptInProgress<Call>| progress.member.clone();
        run_step(&self.reserve, answering, request, |progress, reserved| {
            let call = reserved.flatten().map_err(AcceptHalt::Refused)?;
            if call.phase != CallPhase::Reserving {
                return Err(AcceptHalt::Repeated(Box::new(call)));
            }
            Ok(AcceptInProgress {
                state: call,
                ..progress
            })
        })
        .await
    }

    async fn charge<'a>(
        &self,
        reserved: AcceptBatchState<'a, Call>,
    ) -> AcceptBatchState<'a, ChargedCall> {
        let first_minute = |progress: &AcceptInProgress<Call>| {
            progress
                .member
                .with_task(build_charge_request(&progress.state, 1))
        };
        run_step(&self.charge, reserved, first_minute, |progress, charge| {
            let AcceptInProgress {
                member,
                caller,
                state: call,
            } = progress;
            let charge = charge.map_err(CallError::from);
            match charge.and_then(|charge| steps::evaluate_first_charge(&call, charge)) {
                Ok(_) if call.media == CallMedia::Platform => {
                    Err(AcceptHalt::Connecting(Box::new(AcceptedCall {
                        call,
                        caller,
                    })))
                }
                Ok(minute) => Ok(AcceptInProgress {
                    member,
                    caller,
                    state: ChargedCall { call, minute },
                }),
                Err(error) => Err(needs_undo(call, error)),
            }
        })
        .await
    }

    /// Turns paid calls live. Presence has shown the parties as busy since the ring; until when they probably are, it
    /// learns from the event of the start.
    async fn go_live(
        &self,
        paid: AcceptBatchState<'_, ChargedCall>,
    ) -> Vec<Result<AcceptedCall, AcceptHalt>> {
        let start = |progress: &AcceptInProgress<ChargedCall>| {
            let ChargedCall { call, minute } = &progress.state;
            progress
                .member
                .with_task(PaidCallStart::of_ring(call, *minute, None))
        };
        run_step(&self.go_live, paid, start, |progress, live| match live {
            Ok(Some((call, _))) => Ok(AcceptedCall {
                call,
                caller: progress.caller,
            }),
            Ok(None) => Err(AcceptHalt::Overtaken),
            Err(error) => Err(needs_undo(progress.state.call, error)),
        })
        .await
    }
}

/// Returns why a ring must end although its listener accepts it.
fn find_ring_end(
    call: &Call,
    caller: &CallerState,
    limits: &SagaTimeLimits,
) -> Option<RingEndCause> {
    if call.phase != CallPhase::Ringing {
        None
    } else if caller.is_blocked {
        let by = EndingParty::Server;
        Some(RingEndCause::Blocked { by })
    } else if ringing::is_caller_gone(call, caller.last_sign, limits) {
        Some(RingEndCause::CallerGone)
    } else {
        None
    }
}

fn needs_undo(call: Call, error: CallError) -> AcceptHalt {
    AcceptHalt::NeedsUndo {
        call: Box::new(call),
        error,
    }
}
