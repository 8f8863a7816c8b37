//! Tasks that arrive one by one and are executed in batches: while one batch commits, the next one
//! gathers, so that a busy service goes to the database once for many callers. Each caller is answered
//! after the commit that contains its own task. In a quiet service a batch has one item, and no caller
//! waits for another.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use futures::future::join_all;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{Instrument, Span};

use crate::error::{Error, Kind};
use crate::trace;

/// Bounds of the batches of one kind of task.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Greatest number of items in one batch.
    pub items_max: usize,
    /// Greatest number of batches that are executed at the same time. With more than one, a batch that
    /// waits for a locked row does not delay the rest.
    pub concurrent_max: usize,
    /// Greatest number of items that wait for a batch. It need not exceed the number of requests that the
    /// server admits at the same time.
    pub queued_max: usize,
}

/// One caller's part of a batch.
#[derive(Clone, Debug)]
pub struct BatchItem<T> {
    /// The task to execute.
    pub task: T,
    /// The trace of the caller, for the events that the task causes.
    pub traceparent: Option<String>,
}

impl<T> BatchItem<T> {
    /// Returns an item of the same caller with another task, such as its next step.
    pub fn with_task<U>(&self, task: U) -> BatchItem<U> {
        BatchItem {
            task,
            traceparent: self.traceparent.clone(),
        }
    }
}

/// Executes batches of one kind of task.
pub trait BatchHandler: Send + Sync + 'static {
    /// The request of one caller.
    type Task: Clone + Send + Sync + 'static;
    /// The response to one caller.
    type Answer: Send + 'static;
    /// The reason why a batch failed as a whole.
    type Error: From<Error> + Into<Error> + Display + Send + 'static;

    /// Executes all items in one transaction or in one request, and returns one answer per item, in
    /// order. When a batch fails, its items are executed one by one, so that one item does not fail the
    /// others: every task must therefore be safe to execute twice. The batch runs in the span of its
    /// first item.
    ///
    /// # Errors
    /// The batch failed as a whole and had no effect, or its outcome is unknown.
    fn handle(
        &self,
        batch: &[BatchItem<Self::Task>],
    ) -> impl Future<Output = Result<Vec<Self::Answer>, Self::Error>> + Send;

    /// Returns whether no single item can be the cause of this failure, for example because a peer is
    /// down. Every caller then gets the failure and no item is executed again. By default this is never
    /// the case.
    fn fails_whole_batch(_error: &Self::Error) -> bool {
        false
    }
}

/// Accepts tasks and answers each one when its batch is done; cheap to clone.
pub struct Batcher<H: BatchHandler> {
    queue: mpsc::Sender<QueuedItem<H>>,
}

impl<H: BatchHandler> Clone for Batcher<H> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
        }
    }
}

/// An item whose caller waits for the answer.
struct QueuedItem<H: BatchHandler> {
    item: BatchItem<H::Task>,
    caller: WaitingCaller<H>,
}

struct WaitingCaller<H: BatchHandler> {
    span: Span,
    answer: oneshot::Sender<Result<H::Answer, H::Error>>,
}

impl<H: BatchHandler> Batcher<H> {
    /// Executes batches in the background until the last clone is dropped.
    pub fn start(limits: BatchLimits, handler: H) -> Self {
        let (queue, queued) = mpsc::channel(limits.queued_max);
        tokio::spawn(run_batches(limits, Arc::new(handler), queued));
        Self { queue }
    }

    /// Executes a task as part of a batch and answers after the commit of the batch.
    ///
    /// # Errors
    /// The task failed; or its batch ended without an answer, and the outcome is unknown.
    pub async fn submit(&self, task: H::Task) -> Result<H::Answer, H::Error> {
        let (answer, answered) = oneshot::channel();
        let span = Span::current();
        let traceparent = trace::of(&span);
        let queued = QueuedItem {
            item: BatchItem { task, traceparent },
            caller: WaitingCaller { span, answer },
        };
        self.queue.send(queued).await.map_err(|_| worker_gone())?;
        answered.await.map_err(|_| worker_gone())?
    }
}

/// The batch ended without an answer, so the outcome is unknown. Only the same task, submitted again,
/// finds out whether it was executed.
fn worker_gone() -> Error {
    let detail = "Please try again in a moment.";
    Error::new(Kind::Unavailable, "broken_off", detail)
}

/// Forms a batch of the queued items whenever one may start. Each batch runs in a task of its own, so
/// that a panic ends only that batch.
async fn run_batches<H: BatchHandler>(
    limits: BatchLimits,
    handler: Arc<H>,
    mut queued: mpsc::Receiver<QueuedItem<H>>,
) {
    let permits = Arc::new(Semaphore::new(limits.concurrent_max));
    while let Ok(permit) = permits.clone().acquire_owned().await {
        let Some(first) = queued.recv().await else {
            return;
        };
        // The answers of one batch wake many callers, which often submit their next task together. They
        // get the chance to do so before the batch is closed.
        tokio::task::yield_now().await;
        let mut batch = vec![first];
        while batch.len() < limits.items_max
            && let Ok(next) = queued.try_recv()
        {
            batch.push(next);
        }
        let handler = handler.clone();
        tokio::spawn(async move {
            execute_batch(&*handler, batch).await;
            drop(permit);
        });
    }
}

async fn execute_batch<H: BatchHandler>(handler: &H, mut batch: Vec<QueuedItem<H>>) {
    // A caller that has stopped waiting may have submitted the task again.
    batch.retain(|queued| !queued.caller.answer.is_closed());
    let (items, callers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|queued| (queued.item, queued.caller))
        .unzip();
    let Some(first) = callers.first() else { return };
    let span = first.span.clone();
    let answers = execute_items(handler, &items).instrument(span).await;
    for (caller, answer) in callers.into_iter().zip(answers) {
        // The send fails when the caller has stopped waiting; the task is done all the same.
        let _ = caller.answer.send(answer);
    }
}

/// Executes items as one batch and, when that fails, one by one; returns one result per item, in order.
pub async fn execute_items<H: BatchHandler>(
    handler: &H,
    items: &[BatchItem<H::Task>],
) -> Vec<Result<H::Answer, H::Error>> {
    if items.is_empty() {
        return vec![];
    }
    let error = match handler.handle(items).await {
        Ok(answers) if answers.len() == items.len() => {
            return answers.into_iter().map(Ok).collect();
        }
        Ok(_) => Error::internal("a batch has no answer for one of its items").into(),
        Err(error) => error,
    };
    if items.len() < 2 {
        return vec![Err(error)];
    }
    if H::fails_whole_batch(&error) {
        let shared = Arc::new(error.into());
        let each = items
            .iter()
            .map(|_| Err(Error::of_shared(Arc::clone(&shared)).into()));
        return each.collect();
    }
    tracing::debug!(%error, items = items.len(), "batch failed; its items are executed one by one");
    join_all(items.iter().map(|item| execute_one(handler, item))).await
}

async fn execute_one<H: BatchHandler>(
    handler: &H,
    item: &BatchItem<H::Task>,
) -> Result<H::Answer, H::Error> {
    let mut answers = handler.handle(std::slice::from_ref(item)).await?;
    let no_answer = || Error::internal("a batch has no answer for its only item").into();
    answers.pop().ok_or_else(no_answer)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    const LIMITS: BatchLimits = BatchLimits {
        items_max: 8,
        concurrent_max: 1,
        queued_max: 64,
    };

    /// Squares numbers, one batch per permit. It refuses 13, is unavailable for 11, and panics at 17.
    #[derive(Clone)]
    struct SquareHandler {
        batch_permits: Arc<Semaphore>,
        batches: Arc<Mutex<Vec<Vec<u64>>>>,
    }

    impl SquareHandler {
        fn new() -> Self {
            Self {
                batch_permits: Arc::new(Semaphore::new(0)),
                batches: Arc::default(),
            }
        }

        fn batch_sizes(&self) -> Vec<usize> {
            let batches = self.batches.lock().expect("not poisoned");
            batches.iter().map(Vec::len).collect()
        }
    }

    impl BatchHandler for SquareHandler {
        type Task = u64;
        type Answer = u64;
        type Error = Error;

        async fn handle(&self, batch: &[BatchItem<u64>]) -> Result<Vec<u64>, Error> {
            let numbers: Vec<u64> = batch.iter().map(|item| item.task).collect();
            let batch_permits = self.batch_permits.acquire().await;
            batch_permits.expect("never closed").forget();
            assert!(!numbers.contains(&17), "the test makes this batch panic");
            if numbers.contains(&13) {
                return Err(Error::invalid("unlucky", "Not 13."));
            }
            let mut batches = self.batches.lock().expect("not poisoned");
            batches.push(numbers.clone());
            if numbers.contains(&11) {
                return Err(worker_gone());
            }
            Ok(numbers.into_iter().map(|number| number * number).collect())
        }

        fn fails_whole_batch(error: &Error) -> bool {
            error.kind() == Kind::Unavailable
        }
    }

    /// Submits all numbers at the same time; no batch ends before all are submitted.
    async fn submit_all(handler: &SquareHandler, numbers: &[u64]) -> Vec<Result<u64, Error>> {
        let batcher = Batcher::start(LIMITS, handler.clone());
        let submitted = join_all(numbers.iter().map(|number| batcher.submit(*number)));
        let release = async { handler.batch_permits.add_permits(numbers.len() + 1) };
        // `join!` polls in this order: every number is queued when the first batch may start.
        tokio::join!(submitted, release).0
    }

    #[tokio::test]
    async fn items_submitted_during_a_batch_form_the_next_batch() {
        let handler = SquareHandler::new();
        let answers = submit_all(&handler, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]).await;
        for (number, answer) in (1..=10).zip(answers) {
            assert_eq!(answer.expect("squared"), number * number);
        }
        let sizes = handler.batch_sizes();
        assert!(sizes.len() < 10, "no items shared a batch: {sizes:?}");
        assert!(sizes.iter().all(|size| *size <= 8), "{sizes:?}");
    }

    #[tokio::test]
    async fn a_failing_item_does_not_fail_the_others() {
        let handler = SquareHandler::new();
        let answers = submit_all(&handler, &[1, 2, 13, 4]).await;
        for (number, answer) in [1, 2, 13, 4].into_iter().zip(answers) {
            assert_eq!(answer.is_ok(), number != 13, "{number}");
        }
    }

    #[tokio::test]
    async fn a_failure_of_the_whole_batch_reaches_all_callers_without_a_retry() {
        let handler = SquareHandler::new();
        let answers = submit_all(&handler, &[1, 11, 4]).await;
        for (number, answer) in [1, 11, 4].into_iter().zip(answers) {
            assert_eq!(
                answer.expect_err("unavailable").kind(),
                Kind::Unavailable,
                "{number}"
            );
        }
        assert_eq!(handler.batch_sizes(), [3]);
    }

    #[tokio::test]
    async fn a_panic_ends_only_its_own_batch() {
        let handler = SquareHandler::new();
        handler.batch_permits.add_permits(2);
        let batcher = Batcher::start(LIMITS, handler);
        let panicked = batcher.submit(17).await.expect_err("the batch panics");
        assert_eq!(panicked.kind(), Kind::Unavailable);
        assert_eq!(batcher.submit(3).await.expect("squared"), 9);
    }
}
