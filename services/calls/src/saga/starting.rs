//! Starts that come together go through all steps together: who is refused on the way has stopped, the
//! others go on.

use std::time::{Duration, Instant};

use talktime_kit::failpoint;
use talktime_kit::group::{self, Member, Work};
use tokio_util::sync::CancellationToken;

use super::charge::Charging;
use super::check::Checking;
use super::go_live::{GoingLive, PaidStart};
use super::reserve::{Reserved, Reserving, Wanted};
use super::show::Shown;
use super::start::{Start, Started};
use crate::domain::CallError;
use crate::domain::call::Call;
use crate::domain::steps::{self, PaidMinute};
use crate::peers::charge_request;
use crate::store::calls::NewCall;

/// What must be left of a request's time for its call to go live: else the answer would be cut off
/// and nobody would know of the call.
const ANSWER_TIME: Duration = Duration::from_millis(600);

/// All steps of a start.
pub(super) struct Starting {
    pub(super) checking: Checking,
    pub(super) reserving: Reserving,
    pub(super) charging: Charging,
    pub(super) going_live: GoingLive,
    pub(super) shown: Shown,
}

/// A wish to call at today's terms.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) start: Start,
    /// As it is to be written, but for the names.
    pub(super) call: NewCall,
    /// When an answer is of use no more.
    pub(super) deadline: Option<Instant>,
    /// Cancelled when the client has hung up.
    pub(super) client_gone: CancellationToken,
}

impl Planned {
    /// Whether nobody would learn of the call if it went live now.
    fn is_in_vain(&self) -> bool {
        let answer_at = Instant::now() + ANSWER_TIME;
        self.client_gone.is_cancelled()
            || self.deadline.is_some_and(|deadline| deadline < answer_at)
    }
}

/// Why a start goes no further.
pub(super) enum Stop {
    /// It left nothing behind.
    Refused(CallError),
    /// The same request started it before.
    Before(Started),
    /// It broke when its row was written, and is to be undone.
    Broken { call: Box<Call>, error: CallError },
}

type Outcome<T> = Result<T, Stop>;

impl Work for Starting {
    type Task = Planned;
    type Answer = Outcome<(Call, Started)>;
    type Error = CallError;

    async fn work(&self, group: &[Member<Planned>]) -> Result<Vec<Self::Answer>, CallError> {
        let planned = group.iter().map(Ok).collect();
        let checked = self.check(planned).await;
        let reserved = self.reserve(checked).await;
        failpoint::reach("calls.start.reserved");
        let paid = self.charge(reserved).await;
        failpoint::reach("calls.start.charged");
        Ok(self.go_live(paid).await)
    }
}

/// A start that got so far with its `state`.
struct On<'a, T> {
    member: &'a Member<Planned>,
    state: T,
}

type All<'a, T> = Vec<Outcome<On<'a, T>>>;

impl Starting {
    async fn check<'a>(&self, planned: Vec<Outcome<&'a Member<Planned>>>) -> All<'a, NewCall> {
        let parties = |member: &&Member<Planned>| {
            let call = &member.task.call;
            member.with((call.user_id, call.listener_id))
        };
        step(&self.checking, planned, parties, |member, names| {
            if member.task.is_in_vain() {
                return Err(Stop::Refused(CallError::Undone));
            }
            let names = names
                .map_err(CallError::from)
                .flatten()
                .map_err(Stop::Refused)?;
            let state = NewCall {
                caller_username: names.caller,
                listener_username: names.listener,
                ..member.task.call.clone()
            };
            Ok(On { member, state })
        })
        .await
    }

    async fn reserve<'a>(&self, checked: All<'a, NewCall>) -> All<'a, Call> {
        let wanted = |on: &On<NewCall>| {
            on.member.with(Wanted {
                call: on.state.clone(),
                idempotency: on.member.task.start.idempotency.clone(),
            })
        };
        step(
            &self.reserving,
            checked,
            wanted,
            |on, reserved| match reserved.flatten().map_err(Stop::Refused)? {
                Reserved::Now(call) => Ok(On {
                    member: on.member,
                    state: *call,
                }),
                Reserved::Before(started) => Err(Stop::Before(started)),
            },
        )
        .await
    }

    async fn charge<'a>(&self, reserved: All<'a, Call>) -> All<'a, (Call, PaidMinute)> {
        let first_minute = |on: &On<Call>| on.member.with(charge_request(&on.state, 1));
        step(&self.charging, reserved, first_minute, |on, charge| {
            let On { member, state } = on;
            let charge = charge.map_err(CallError::from);
            let paid = charge.and_then(|charge| steps::go_live(&state, charge));
            match paid {
                Ok(_) if member.task.is_in_vain() => Err(broken(&state, CallError::Undone)),
                Ok(minute) => Ok(On {
                    member,
                    state: (state, minute),
                }),
                Err(error) => Err(broken(&state, error)),
            }
        })
        .await
    }

    /// Presence hears of it at the same time: a call that does not go live after all is undone, and
    /// that is told too.
    async fn go_live(&self, paid: All<'_, (Call, PaidMinute)>) -> Vec<Outcome<(Call, Started)>> {
        let busy: Vec<(Call, i32)> = paid.iter().flatten().map(busy).collect();
        let start = |on: &On<(Call, PaidMinute)>| {
            on.member.with(PaidStart {
                call_id: on.state.0.call_id,
                start: on.member.task.start.clone(),
                minute: on.state.1,
            })
        };
        let live = step(&self.going_live, paid, start, |on, live| match live {
            Ok(Some(live)) => Ok(live),
            Ok(None) => Err(broken(&on.state.0, CallError::Undone)),
            Err(error) => Err(broken(&on.state.0, error)),
        });
        tokio::join!(live, self.shown.busy(&busy)).0
    }
}

/// Takes all that have not stopped one step further, together.
async fn step<W: Work, S, T>(
    work: &W,
    states: Vec<Outcome<S>>,
    task: impl Fn(&S) -> Member<W::Task>,
    next: impl Fn(S, Result<W::Answer, W::Error>) -> Outcome<T>,
) -> Vec<Outcome<T>> {
    let members: Vec<Member<W::Task>> = states.iter().flatten().map(task).collect();
    let mut answers = group::run(work, &members).await.into_iter();
    let mut further = Vec::with_capacity(states.len());
    for state in states {
        further.push(match state {
            Ok(state) => next(state, answers.next().expect("each member has an answer")),
            Err(stop) => Err(stop),
        });
    }
    further
}

/// With whom the parties are busy, and how long others are told to wait.
fn busy(on: &On<'_, (Call, PaidMinute)>) -> (Call, i32) {
    let (call, minute) = &on.state;
    let start = &on.member.task.start;
    let started = Started::new(call, start, minute.balance_coins);
    (call.clone(), started.wait_time(start))
}

fn broken(call: &Call, error: CallError) -> Stop {
    Stop::Broken {
        call: Box::new(call.clone()),
        error,
    }
}
