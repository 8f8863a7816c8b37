//! Takes a batch of starts through all steps together. A start that is refused on the way halts; the others
//! proceed.
//!
//! The order of the steps protects the money. Both parties are reserved before the first minute is charged,
//! so nobody pays for a call that another call prevents. The call goes live only after the payment, so
//! nobody talks unpaid. A start that fails after its reservation is undone, which voids a charge even if
//! its outcome is unknown.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use talktime_kit::batch::{BatchHandler, BatchItem};
use talktime_kit::failpoint;
use tokio::time::timeout;
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

/// Longest wait for the coins of callers, which only decide when presence learns of a call.
const COINS_WAIT_MAX: Duration = Duration::from_millis(100);

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
    NeedsUndo {
        call: Box<Call>,
        error: CallError,
        /// Whether presence may show the parties as busy.
        is_shown_busy: bool,
    },
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
        let (checked, coins) = tokio::join!(self.check(planned), self.load_coins(group));
        let reserved = self.reserve(checked).await;
        failpoint::reach("calls.start.reserved");
        let busy = list_busy(&reserved, &coins);
        let shown_busy: HashSet<i64> = busy.iter().map(|busy| busy.call.call_id).collect();
        let live = async {
            let paid = self.charge(reserved, &shown_busy).await;
            failpoint::reach("calls.start.charged");
            self.go_live(paid, &shown_busy).await
        };
        Ok(tokio::join!(live, self.presence.mark_busy(&busy)).0)
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
    /// Loads the coins of the callers who are charged at once. Those who can pay are shown as busy while they are
    /// charged, which saves the answer the wait for presence. Without an answer they are shown after the charge.
    async fn load_coins(&self, group: &[BatchItem<CallStartPlan>]) -> HashMap<i64, i64> {
        let calls = group.iter().map(|member| &member.task.call);
        let charged_at_once = calls.filter(|call| call.ring.is_none());
        let callers = charged_at_once.map(|call| call.user_id).collect();
        let loading = self.check.peers.load_coins_by_user(callers);
        let loaded = timeout(COINS_WAIT_MAX, loading).await;
        loaded.ok().and_then(Result::ok).unwrap_or_default()
    }

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
        shown_busy: &HashSet<i64>,
    ) -> StartBatchState<'a, ChargedCall> {
        let first_minute = |progress: &StartInProgress<Call>| {
            progress
                .member
                .with_task(build_charge_request(&progress.state, 1))
        };
        run_step(&self.charge, reserved, first_minute, |progress, charge| {
            let StartInProgress { member, state } = progress;
            let is_shown_busy = shown_busy.contains(&state.call_id);
            let charge = charge.map_err(CallError::from);
            let paid = charge.and_then(|charge| steps::evaluate_first_charge(&state, charge));
            match paid {
                Ok(_) if member.task.is_answer_lost() => {
                    Err(needs_undo(&state, CallError::Undone, is_shown_busy))
                }
                Ok(minute) => Ok(StartInProgress {
                    member,
                    state: ChargedCall {
                        call: state,
                        minute,
                    },
                }),
                Err(error) => Err(needs_undo(&state, error, is_shown_busy)),
            }
        })
        .await
    }

    /// Turns paid calls live, and marks those parties as busy in presence at the same time that were not marked
    /// before. If a call does not go live after all, its undo marks them as free again.
    async fn go_live(
        &self,
        paid: StartBatchState<'_, ChargedCall>,
        shown_busy: &HashSet<i64>,
    ) -> Vec<StartStepResult<(Call, StartedCall)>> {
        let unshown = paid.iter().flatten();
        let unshown = unshown.filter(|paid| !shown_busy.contains(&paid.state.call.call_id));
        let busy: Vec<BusyCall> = unshown.map(busy_call).collect();
        let start = |progress: &StartInProgress<ChargedCall>| {
            progress.member.with_task(PaidCallStart {
                call: Box::new(progress.state.call.clone()),
                start: progress.member.task.start.clone(),
                minute: progress.state.minute,
                flows_since: None,
            })
        };
        let live = run_step(&self.go_live, paid, start, |progress, live| match live {
            Ok(Some(live)) => Ok(live),
            Ok(None) => Err(needs_undo(&progress.state.call, CallError::Undone, true)),
            Err(error) => Err(needs_undo(&progress.state.call, error, true)),
        });
        tokio::join!(live, self.presence.mark_busy(&busy)).0
    }
}

/// Returns the calls that ring, whose parties are busy for an unknown time, and those whose caller can pay.
fn list_busy(reserved: &StartBatchState<'_, Call>, coins: &HashMap<i64, i64>) -> Vec<BusyCall> {
    let busy = reserved.iter().filter_map(|state| match state {
        Ok(progress) => {
            let call = &progress.state;
            let coins = coins.get(&call.user_id).copied();
            let coins = coins.filter(|coins| *coins >= call.coins_per_minute)?;
            Some(BusyCall::of_unpaid(
                call,
                &progress.member.task.start,
                coins,
            ))
        }
        Err(StartHalt::Ringing { call, .. }) => Some(BusyCall {
            call: (**call).clone(),
            wait_minutes: None,
        }),
        Err(_) => None,
    });
    busy.collect()
}

fn busy_call(progress: &StartInProgress<'_, ChargedCall>) -> BusyCall {
    let ChargedCall { call, minute } = &progress.state;
    BusyCall::of_paid(call, &progress.member.task.start, *minute)
}

fn needs_undo(call: &Call, error: CallError, is_shown_busy: bool) -> StartHalt {
    StartHalt::NeedsUndo {
        call: Box::new(call.clone()),
        error,
        is_shown_busy,
    }
}
