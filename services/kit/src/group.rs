//! Work that comes one by one and is done in groups: while one group commits the next one gathers, so
//! that a busy service goes to the database once for many. Each caller is answered after the commit
//! that its own work is in. A quiet service has groups of one, and nobody waits for a second.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{Instrument, Span};

use crate::error::{Error, Kind};
use crate::trace;

/// What bounds the groups of one kind of work.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Members of one group, at most.
    pub members_max: usize,
    /// Groups under way at once, at most: one that waits for a locked row does not hold up the rest.
    pub at_once: usize,
    /// Members that wait for a group, at most. More than the server lets in at once is never needed.
    pub waiting_max: usize,
}

/// One caller's part of a group.
#[derive(Clone, Debug)]
pub struct Member<T> {
    /// What is to be done.
    pub task: T,
    /// The trace that asked, for its events.
    pub traceparent: Option<String>,
}

impl<T> Member<T> {
    /// The same member with another task, such as its next step.
    pub fn with<U>(&self, task: U) -> Member<U> {
        Member {
            task,
            traceparent: self.traceparent.clone(),
        }
    }
}

/// What is done with a group.
pub trait Work: Send + Sync + 'static {
    /// What each caller asks for.
    type Task: Clone + Send + Sync + 'static;
    /// What each caller is answered.
    type Answer: Send + 'static;
    /// Why a group as a whole comes to nothing.
    type Error: From<Error> + Into<Error> + Display + Send + 'static;

    /// Does it all in one transaction, or in one request; answers each, in order. A group that fails is
    /// done again member by member, so that one does not spoil it for the others: every task must bear
    /// to be done twice. It runs in the span of its first member.
    fn work(
        &self,
        group: &[Member<Self::Task>],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Self::Error>> + Send;

    /// A failure that no member is to blame for, such as a peer that is away: each gets it, and nothing
    /// is done again. By default there is none.
    fn is_everyones(_error: &Self::Error) -> bool {
        false
    }
}

/// Where tasks are handed in; cheap to clone.
pub struct Groups<W: Work> {
    queue: mpsc::Sender<Waiting<W>>,
}

impl<W: Work> Clone for Groups<W> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

/// A member whose caller waits.
struct Waiting<W: Work> {
    member: Member<W::Task>,
    caller: Caller<W>,
}

struct Caller<W: Work> {
    span: Span,
    answer: oneshot::Sender<Result<W::Answer, W::Error>>,
}

impl<W: Work> Groups<W> {
    /// Starts to work in the background, until the last clone is gone.
    pub fn start(limits: Limits, work: W) -> Self {
        let (queue, waiting) = mpsc::channel(limits.waiting_max);
        tokio::spawn(gather(limits, Arc::new(work), waiting));
        Self { queue }
    }

    /// Does it in a group; answers after the group's commit. When that never comes, the outcome is
    /// unknown and the error says so.
    pub async fn ask(&self, task: W::Task) -> Result<W::Answer, W::Error> {
        let (answer, answered) = oneshot::channel();
        let span = Span::current();
        let traceparent = trace::of(&span);
        let waiting = Waiting {
            member: Member { task, traceparent },
            caller: Caller { span, answer },
        };
        self.queue.send(waiting).await.map_err(|_| broken_off())?;
        answered.await.map_err(|_| broken_off())?
    }
}

/// The group died with the task in hand: nothing but the same task again tells what became of it.
fn broken_off() -> Error {
    let detail = "Please try again in a moment.";
    Error::new(Kind::Unavailable, "broken_off", detail)
}

/// Takes what waits whenever a group may begin. A group has a task of its own, so that a panic ends
/// nothing but that group.
async fn gather<W: Work>(limits: Limits, work: Arc<W>, mut waiting: mpsc::Receiver<Waiting<W>>) {
    let places = Arc::new(Semaphore::new(limits.at_once));
    while let Ok(place) = places.clone().acquire_owned().await {
        let Some(first) = waiting.recv().await else {
            return;
        };
        // Callers that were woken together, by the answers of another group, ask together.
        tokio::task::yield_now().await;
        let mut group = vec![first];
        while group.len() < limits.members_max
            && let Ok(next) = waiting.try_recv()
        {
            group.push(next);
        }
        let work = work.clone();
        tokio::spawn(async move {
            do_together(&*work, group).await;
            drop(place);
        });
    }
}

async fn do_together<W: Work>(work: &W, mut group: Vec<Waiting<W>>) {
    // Whoever has stopped waiting may have asked again.
    group.retain(|waiting| !waiting.caller.answer.is_closed());
    let (members, callers): (Vec<_>, Vec<_>) = group
        .into_iter()
        .map(|waiting| (waiting.member, waiting.caller))
        .unzip();
    let Some(first) = callers.first() else { return };
    let span = first.span.clone();
    let answers = run(work, &members).instrument(span).await;
    for (caller, answer) in callers.into_iter().zip(answers) {
        // Nobody may be waiting any more: it is done all the same.
        let _ = caller.answer.send(answer);
    }
}

/// Does the work of a group, and where that fails member by member; answers each, in order.
pub async fn run<W: Work>(work: &W, group: &[Member<W::Task>]) -> Vec<Result<W::Answer, W::Error>> {
    if group.is_empty() {
        return vec![];
    }
    let error = match work.work(group).await {
        Ok(done) if done.len() == group.len() => return done.into_iter().map(Ok).collect(),
        Ok(_) => Error::internal("a group has no answer for one of its members").into(),
        Err(error) => error,
    };
    if group.len() < 2 {
        return vec![Err(error)];
    }
    if W::is_everyones(&error) {
        let shared = Arc::new(error.into());
        let each = group
            .iter()
            .map(|_| Err(Error::of_shared(Arc::clone(&shared)).into()));
        return each.collect();
    }
    tracing::debug!(%error, members = group.len(), "a group is done member by member");
    join_all(group.iter().map(|member| alone(work, member))).await
}

async fn alone<W: Work>(work: &W, member: &Member<W::Task>) -> Result<W::Answer, W::Error> {
    let mut answers = work.work(std::slice::from_ref(member)).await?;
    let no_answer = || Error::internal("a group has no answer for its only member").into();
    answers.pop().ok_or_else(no_answer)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LIMITS: Limits = Limits {
        members_max: 8,
        at_once: 1,
        waiting_max: 64,
    };

    /// Squares numbers, group by group as it is let; cannot bear 13, is away for 11, and dies of 17.
    #[derive(Clone)]
    struct Squaring {
        may_begin: Arc<Semaphore>,
        groups: Arc<Mutex<Vec<Vec<u64>>>>,
    }

    impl Squaring {
        fn new() -> Self {
            Self {
                may_begin: Arc::new(Semaphore::new(0)),
                groups: Arc::default(),
            }
        }

        fn sizes(&self) -> Vec<usize> {
            let groups = self.groups.lock().expect("not poisoned");
            groups.iter().map(Vec::len).collect()
        }
    }

    impl Work for Squaring {
        type Task = u64;
        type Answer = u64;
        type Error = Error;

        async fn work(&self, group: &[Member<u64>]) -> Result<Vec<u64>, Error> {
            let numbers: Vec<u64> = group.iter().map(|member| member.task).collect();
            let may_begin = self.may_begin.acquire().await;
            may_begin.expect("never closed").forget();
            assert!(!numbers.contains(&17), "dies, as the test wants it");
            if numbers.contains(&13) {
                return Err(Error::invalid("unlucky", "Not 13."));
            }
            let mut groups = self.groups.lock().expect("not poisoned");
            groups.push(numbers.clone());
            if numbers.contains(&11) {
                return Err(broken_off());
            }
            Ok(numbers.into_iter().map(|number| number * number).collect())
        }

        fn is_everyones(error: &Error) -> bool {
            error.kind() == Kind::Unavailable
        }
    }

    /// Asks for all of them at once; no group ends before all have asked.
    async fn ask_all(squaring: &Squaring, numbers: &[u64]) -> Vec<Result<u64, Error>> {
        let groups = Groups::start(LIMITS, squaring.clone());
        let asked = join_all(numbers.iter().map(|number| groups.ask(*number)));
        let let_go = async { squaring.may_begin.add_permits(numbers.len() + 1) };
        // Polled in this order: each has handed its number in when the first group may begin.
        tokio::join!(asked, let_go).0
    }

    #[tokio::test]
    async fn what_comes_while_a_group_is_under_way_is_the_next_group() {
        let squaring = Squaring::new();
        let answers = ask_all(&squaring, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).await;
        for (number, answer) in (1..=10).zip(answers) {
            assert_eq!(answer.expect("squared"), number * number);
        }
        let sizes = squaring.sizes();
        assert!(sizes.len() < 10, "nothing was grouped: {sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 8), "{sizes:?}");
    }

    #[tokio::test]
    async fn one_that_fails_does_not_spoil_it_for_the_others() {
        let squaring = Squaring::new();
        let answers = ask_all(&squaring, &[1, 2, 13, 4]).await;
        for (number, answer) in [1, 2, 13, 4].into_iter().zip(answers) {
            assert_eq!(answer.is_ok(), number != 13, "{number}");
        }
    }

    #[tokio::test]
    async fn what_nobody_is_to_blame_for_is_told_to_all_and_not_done_again() {
        let squaring = Squaring::new();
        let answers = ask_all(&squaring, &[1, 11, 4]).await;
        for (number, answer) in [1, 11, 4].into_iter().zip(answers) {
            assert_eq!(
                answer.expect_err("away").kind(),
                Kind::Unavailable,
                "{number}"
            );
        }
        assert_eq!(squaring.sizes(), [3]);
    }

    #[tokio::test]
    async fn a_panic_ends_its_own_group_only() {
        let squaring = Squaring::new();
        squaring.may_begin.add_permits(2);
        let groups = Groups::start(LIMITS, squaring);
        let died = groups.ask(17).await.expect_err("the group dies");
        assert_eq!(died.kind(), Kind::Unavailable);
        assert_eq!(groups.ask(3).await.expect("squared"), 9);
    }
}
