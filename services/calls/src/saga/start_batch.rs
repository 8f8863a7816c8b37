//! Takes a batch of starts through all steps together. A start that is refused on the way halts; the others
//! proceed.
//!
//! The order of the steps protects the money. Both parties are reserved before the first minute is charged,
//! so nobody pays for a call that another call prevents. The call goes live only after the payment, so
//! nobody talks unpaid. A start that fails after its reservation is undone, which voids a charge even if
//! its outcome is unknown.

use std::time::{Duration, Instant};

use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::failpoint;
use tokio_util::sync::CancellationToken;

use super::batching::run_step;
use super::presence_updates::{BusyCall, CallPresenceNotifier};
use super::requests::{CallStartRequest, StartedCall};
use super::steps::charge::{ChargeBatchHandler, ChargedCall};
use super::steps::check::{CallParties, CheckBatchHandler, PlannedCall};
use super::steps::go_live::{GoLiveBatchHandler, PaidCallStart};
use super::steps::reserve::{ReservationOutcome, ReservationRequest, ReserveBatchHandler};
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps;
use crate::peers::build_charge_request;
use crate::store::reservations::NewCall;

/// Time that must be left of a request when its call goes live. Otherwise the answer would be cut off, and
/// the client would not know that it is on a call.
const ANSWER_TIME: Duration = Duration::from_millis(600);

/// Executes all steps of a start for a batch.
pub(crate) struct StartBatchHandler {
    pub(crate) check: CheckBatchHandler,
    pub(crate) reserve: ReserveBatchHandler,
    pub(crate) charge: ChargeBatchHandler,
    pub(crate) go_live: GoLiveBatchHandler,
    pub(crate) presence: CallPresenceNotifier,
}

/// A validated start at the prices of today.
#[derive(Clone)]
pub(crate) struct CallStartPlan {
    pub(crate) start: CallStartRequest,
    /// The row to write; the names are still empty.
    pub(crate) call: NewCall,
    /// Coins that the caller of a ring must have.
    pub(crate) required_coins: Option<i64>,
    /// Instant after which the client no longer waits for an answer.
    pub(crate) deadline: Option<Instant>,
    /// Cancelled when the client disconnects.
    pub(crate) client_gone: CancellationToken,
}

impl CallStartPlan {
    /// Whether the client would not receive the answer if the call went live now.
    fn is_answer_lost(&self) -> bool {
        let answer_at = Instant::now() + ANSWER_TIME;
        self.client_gone.is_cancelled()
            || self.deadline.is_some_and(|deadline| deadline < answer_at)
    }
}

/// Reason why a start leaves the batch early.
pub(crate) enum StartHalt {
    /// The start was refused and left nothing behind.
    Refused(CallError),
    /// The same request started this call before.
    Replayed(StartedCall),
    /// The call rings: the further steps follow when the listener accepts it.
    Ringing {
        call: Box<Call>,
        started: StartedCall,
    },
    /// The start failed after its row was written, so it must be undone.
    NeedsUndo { call: Box<Call>, error: CallError },
}

type StartStepResult<T> = Result<T, StartHalt>;

impl BatchHandler for StartBatchHandler {
    const NAME: &'static str = "start";
    type Task = CallStartPlan;
    type Answer = StartStepResult<(Call, StartedCall)>;
    type Error = CallError;

    async fn handle(
        &self,
        group: &[BatchItem<CallStartPlan>],
    ) -> Result<Vec<Self::Answer>, CallError> {
        let planned = group.iter().map(Ok).collect();
        let checked = self.check(planned).await;
        let reserved = self.reserve(checked).await;
        failpoint::reach("calls.start.reserved");
        let ringing = list_ringing(&reserved);
        let (paid, ()) = tokio::join!(self.charge(reserved), self.presence.mark_busy(&ringing));
        failpoint::reach("calls.start.charged");
        Ok(self.go_live(paid).await)
    }
}

/// A start that has passed the previous steps; `state` is the result of the last one.
struct StartInProgress<'a, T> {
    member: &'a BatchItem<CallStartPlan>,
    state: T,
}

/// All starts of a batch, in the order of their submission.
type StartBatchState<'a, T> = Vec<StartStepResult<StartInProgress<'a, T>>>;

impl StartBatchHandler {
    async fn check<'a>(
        &self,
        planned: Vec<StartStepResult<&'a BatchItem<CallStartPlan>>>,
    ) -> StartBatchState<'a, CallParties> {
        let planned_call = |member: &&BatchItem<CallStartPlan>| {
            let call = &member.task.call;
            member.with_task(PlannedCall {
                caller_id: call.user_id,
                listener_id: call.listener_id,
                call_type: call.call_type,
                required_coins: member.task.required_coins,
            })
        };
        run_step(&self.check, planned, planned_call, |member, parties| {
            if member.task.is_answer_lost() {
                return Err(StartHalt::Refused(CallError::Undone));
            }
            let state = parties
                .map_err(CallError::from)
                .flatten()
                .map_err(StartHalt::Refused)?;
            Ok(StartInProgress { member, state })
        })
        .await
    }

    async fn reserve<'a>(
        &self,
        checked: StartBatchState<'a, CallParties>,
    ) -> StartBatchState<'a, Call> {
        let request = |progress: &StartInProgress<CallParties>| {
            let plan = &progress.member.task;
            let parties = progress.state.clone();
            progress.member.with_task(ReservationRequest {
                call: NewCall {
                    caller_username: parties.caller.username.clone(),
                    listener_username: parties.listener.username.clone(),
                    ..plan.call.clone()
                },
                start: plan.start.clone(),
                parties,
            })
        };
        run_step(
            &self.reserve,
            checked,
            request,
            |progress, reserved| match reserved.flatten().map_err(StartHalt::Refused)? {
                ReservationOutcome::Reserved(call) => Ok(StartInProgress {
                    member: progress.member,
                    state: *call,
                }),
                ReservationOutcome::Ringing(call, started) => {
                    Err(StartHalt::Ringing { call, started })
                }
                ReservationOutcome::Replayed(started) => Err(StartHalt::Replayed(started)),
            },
        )
        .await
    }

    async fn charge<'a>(
        &self,
        reserved: StartBatchState<'a, Call>,
    ) -> StartBatchState<'a, ChargedCall> {
        let first_minute = |progress: &StartInProgress<Call>| {
            progress
                .member
                .with_task(build_charge_request(&progress.state, 1))
        };
        run_step(&self.charge, reserved, first_minute, |progress, charge| {
            let StartInProgress { member, state } = progress;
            let charge = charge.map_err(CallError::from);
            let paid = charge.and_then(|charge| steps::evaluate_first_charge(&state, charge));
            match paid {
                Ok(_) if member.task.is_answer_lost() => Err(needs_undo(&state, CallError::Undone)),
                Ok(minute) => Ok(StartInProgress {
                    member,
                    state: ChargedCall {
                        call: state,
                        minute,
                    },
                }),
                Err(error) => Err(needs_undo(&state, error)),
            }
        })
        .await
    }

    /// Turns paid calls live, and marks the parties as busy in presence at the same time, which saves the
    /// answer a round trip. If a call does not go live after all, its undo marks them as free again.
    async fn go_live(
        &self,
        paid: StartBatchState<'_, ChargedCall>,
    ) -> Vec<StartStepResult<(Call, StartedCall)>> {
        let busy: Vec<BusyCall> = paid.iter().flatten().map(busy_call).collect();
        let start = |progress: &StartInProgress<ChargedCall>| {
            progress.member.with_task(PaidCallStart {
                call_id: progress.state.call.call_id,
                start: progress.member.task.start.clone(),
                minute: progress.state.minute,
                flows_since: None,
            })
        };
        let live = run_step(&self.go_live, paid, start, |progress, live| match live {
            Ok(Some(live)) => Ok(live),
            Ok(None) => Err(needs_undo(&progress.state.call, CallError::Undone)),
            Err(error) => Err(needs_undo(&progress.state.call, error)),
        });
        tokio::join!(live, self.presence.mark_busy(&busy)).0
    }
}

/// Returns the calls that ring, whose parties are busy for an unknown time.
fn list_ringing<T>(reserved: &StartBatchState<'_, T>) -> Vec<BusyCall> {
    let halts = reserved.iter().filter_map(|state| state.as_ref().err());
    halts
        .filter_map(|halt| match halt {
            StartHalt::Ringing { call, .. } => Some(BusyCall {
                call: (**call).clone(),
                wait_minutes: None,
            }),
            _ => None,
        })
        .collect()
}

fn busy_call(progress: &StartInProgress<'_, ChargedCall>) -> BusyCall {
    let ChargedCall { call, minute } = &progress.state;
    BusyCall::of_paid(call, &progress.member.task.start, *minute)
}

fn needs_undo(call: &Call, error: CallError) -> StartHalt {
    StartHalt::NeedsUndo {
        call: Box::new(call.clone()),
        error,
    }
}
