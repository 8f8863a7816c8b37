//! Tasks that arrive one by one and are executed in batches: while one batch commits, the next one
//! gathers, so that a busy service goes to the database once for many callers. Each caller is answered
//! after the commit that contains its own task. In a quiet service a batch has one item, and no caller
//! waits for another, unless the batches [linger](BatchLimits::linger). In between, a few small batches run
//! [side by side](BatchLimits::overlap_items_max), so that a caller need not wait for one that has just begun.
//! `batch_wait_seconds` and `batch_duration_seconds` measure both parts of an answer.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{Instrument, Span};

use crate::deadlines::BATCH;
use crate::error::{Error, ErrorKind};
use crate::grpc::server::CONCURRENT_METHODS_MAX;
use crate::lifecycle::ProcessLifecycle;
use crate::trace;

/// Bounds of the batches of one kind of task.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Number of items at which a batch is full. Where [one task counts for several
    /// items](BatchHandler::count_items), the last task may exceed it.
    pub items_max: usize,
    /// Greatest number of batches that are executed at the same time. With more than one, a batch that
    /// waits for a locked row does not delay the rest.
    pub concurrent_max: usize,
    /// Number of items under way from which on no further batch starts beside them. Below it, a task does not
    /// wait for the batch before it; above it, the next batch gathers, and large batches cost least.
    pub overlap_items_max: usize,
    /// Greatest number of tasks that wait for a batch. It need not exceed the number of requests that the
    /// server admits at the same time.
    pub queued_max: usize,
    /// How long a task waits for others to share its batch, counted from its submission, unless one of them
    /// [does not linger](BatchHandler::lingers). With zero, a batch starts at once with the tasks that are queued.
    pub linger: Duration,
    /// Treatment of a task that is submitted while the queue is full.
    pub when_full: QueueFullPolicy,
}

impl BatchLimits {
    /// Bounds for requests that wait for one transaction or one command. The first of a moment starts at once, a second
    /// batch may start beside a small one, and under load large ones gather. No request is refused: the queue has room
    /// for all that the server admits.
    pub const REQUESTS: Self = Self {
        items_max: 64,
        concurrent_max: 2,
        overlap_items_max: 4,
        queued_max: CONCURRENT_METHODS_MAX,
        linger: Duration::ZERO,
        when_full: QueueFullPolicy::Wait,
    };

    /// As [`BatchLimits::REQUESTS`], but one batch at a time. Meanwhile the next batch grows, and large batches cost least
    /// for each task. When a batch waits for a slow peer, a concurrent second one would only wait for it as well.
    pub const ONE_AT_A_TIME: Self = Self {
        concurrent_max: 1,
        overlap_items_max: usize::MAX,
        ..Self::REQUESTS
    };
}

/// Treatment of a task that is submitted while `queued_max` tasks wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QueueFullPolicy {
    /// The caller waits until there is room.
    Wait,
    /// The caller is refused at once with [`BatchHandler::queue_full`].
    Reject,
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
    /// Name of the batches in the metrics.
    const NAME: &'static str;
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

    /// Returns for how many items of [`BatchLimits::items_max`] a task counts. By default it is one.
    fn count_items(_task: &Self::Task) -> usize {
        1
    }

    /// Returns whether a task waits for others where batches [linger](BatchLimits::linger). One that does not starts its
    /// batch at once, and takes along those that wait. By default every task lingers.
    fn lingers(_task: &Self::Task) -> bool {
        true
    }

    /// Returns the error of a task that was not queued because too many wait. By default it has the code
    /// `overloaded`.
    fn queue_full() -> Self::Error {
        let detail = "Please try again in a moment.";
        Error::new(ErrorKind::Unavailable, "overloaded", detail).into()
    }

    /// Returns the error of a task whose batch ended without an answer. The outcome is unknown: only the
    /// same task, submitted again, finds out whether it was executed. By default it has the code
    /// `broken_off`.
    fn worker_gone() -> Self::Error {
        let detail = "Please try again in a moment.";
        Error::new(ErrorKind::Unavailable, "broken_off", detail).into()
    }
}

/// Accepts tasks and answers each one when its batch is done; cheap to clone.
pub struct Batcher<H: BatchHandler> {
    queue: mpsc::Sender<QueuedBatchItem<H>>,
    when_full: QueueFullPolicy,
}

impl<H: BatchHandler> Clone for Batcher<H> {
    fn clone(&self) -> Self {
        Self {
            queue: self.queue.clone(),
            when_full: self.when_full,
        }
    }
}

/// An item that waits for its batch.
struct QueuedBatchItem<H: BatchHandler> {
    item: BatchItem<H::Task>,
    span: Span,
    submitted_at: Instant,
    answer: BatchAnswerSender<H>,
}

/// Sends the answer to the caller; `None` for a task whose caller does not wait.
type BatchAnswerSender<H> =
    Option<oneshot::Sender<Result<<H as BatchHandler>::Answer, <H as BatchHandler>::Error>>>;

impl<H: BatchHandler> QueuedBatchItem<H> {
    fn new(task: H::Task, answer: BatchAnswerSender<H>) -> Self {
        let span = Span::current();
        let traceparent = trace::of(&span);
        Self {
            item: BatchItem { task, traceparent },
            span,
            submitted_at: Instant::now(),
            answer,
        }
    }

    fn is_abandoned(&self) -> bool {
        let answer = self.answer.as_ref();
        answer.is_some_and(oneshot::Sender::is_closed)
    }
}

impl<H: BatchHandler> Batcher<H> {
    /// Returns a batcher and the worker that executes its batches, which the caller spawns. The worker ends
    /// when the last clone of the batcher is dropped and all batches are done. Dropping the worker starts no
    /// further batch; those under way are still completed.
    pub fn new(limits: BatchLimits, handler: H) -> (Self, impl Future<Output = ()> + Send) {
        let (queue, queued) = mpsc::channel(limits.queued_max);
        let batcher = Self {
            queue,
            when_full: limits.when_full,
        };
        (batcher, run_batches(limits, Arc::new(handler), queued))
    }

    /// Executes batches in the background until the last clone is dropped. The stop of the process waits for
    /// batches under way.
    pub fn start(lifecycle: &ProcessLifecycle, limits: BatchLimits, handler: H) -> Self {
        let (batcher, worker) = Self::new(limits, handler);
        lifecycle.spawn(worker);
        batcher
    }

    /// Executes a task as part of a batch and answers after the commit of the batch.
    ///
    /// # Errors
    /// The task failed; it was [refused](BatchHandler::queue_full) because the queue is full; or its
    /// batch [ended without an answer](BatchHandler::worker_gone), and the outcome is unknown.
    pub async fn submit(&self, task: H::Task) -> Result<H::Answer, H::Error> {
        let (answer, answered) = oneshot::channel();
        let queued = QueuedBatchItem::new(task, Some(answer));
        match self.when_full {
            QueueFullPolicy::Wait => {
                let sent = self.queue.send(queued).await;
                sent.map_err(|_closed| H::worker_gone())?;
            }
            QueueFullPolicy::Reject => {
                self.queue.try_send(queued).map_err(|error| match error {
                    TrySendError::Full(_) => H::queue_full(),
                    TrySendError::Closed(_) => H::worker_gone(),
                })?;
            }
        }
        answered.await.map_err(|_dropped| H::worker_gone())?
    }

    /// Queues a task whose caller does not wait for the answer. The task is dropped when the queue is full.
    pub fn submit_detached(&self, task: H::Task) {
        // A full queue loses the task, as documented; a closed one means that the process stops.
        let _ = self.queue.try_send(QueuedBatchItem::new(task, None));
    }
}

/// Forms a batch of the queued items whenever one may start. Each batch runs in a task of its own, so
/// that a panic ends only that batch.
async fn run_batches<H: BatchHandler>(
    limits: BatchLimits,
    handler: Arc<H>,
    mut queued: mpsc::Receiver<QueuedBatchItem<H>>,
) {
    let (load, mut room) = watch::channel(BatchLoad::default());
    let batches = TaskTracker::new();
    while room.wait_for(|load| load.leaves_room(limits)).await.is_ok() {
        let Some(first) = queued.recv().await else {
            break;
        };
        // The answers of one batch wake many callers, which often submit their next task together. They
        // get the chance to do so before the batch is closed.
        tokio::task::yield_now().await;
        let batch = gather_batch(limits, first, &mut queued).await;
        let under_way = BatchUnderWay::begin(&load, &batch);
        let handler = handler.clone();
        batches.spawn(async move {
            // A batch that hangs would take up its room for good. Its callers get an error.
            if timeout(BATCH, execute_batch(&*handler, batch))
                .await
                .is_err()
            {
                tracing::warn!("failed to end a batch in time; its callers repeat their tasks");
            }
            drop(under_way);
        });
    }
    batches.close();
    batches.wait().await;
}

/// The batches under way, and their items.
#[derive(Clone, Copy, Debug, Default)]
struct BatchLoad {
    batches: usize,
    items: usize,
}

impl BatchLoad {
    /// Returns whether a further batch may start.
    fn leaves_room(self, limits: BatchLimits) -> bool {
        let may_overlap = self.items < limits.overlap_items_max;
        self.batches == 0 || self.batches < limits.concurrent_max && may_overlap
    }
}

/// The part of the load that is one batch, until it is dropped.
struct BatchUnderWay {
    load: watch::Sender<BatchLoad>,
    items: usize,
}

impl BatchUnderWay {
    fn begin<H: BatchHandler>(
        load: &watch::Sender<BatchLoad>,
        batch: &[QueuedBatchItem<H>],
    ) -> Self {
        let counts = batch.iter().map(|queued| H::count_items(&queued.item.task));
        let items: usize = counts.sum();
        load.send_modify(|load| {
            load.batches += 1;
            load.items += items;
        });
        Self {
            load: load.clone(),
            items,
        }
    }
}

impl Drop for BatchUnderWay {
    fn drop(&mut self) {
        self.load.send_modify(|load| {
            load.batches -= 1;
            load.items -= self.items;
        });
    }
}

/// Collects queued items until the batch is full, or until none is queued and its first item has
/// lingered, or one of its items does not linger.
async fn gather_batch<H: BatchHandler>(
    limits: BatchLimits,
    first: QueuedBatchItem<H>,
    queued: &mut mpsc::Receiver<QueuedBatchItem<H>>,
) -> Vec<QueuedBatchItem<H>> {
    let deadline = first.submitted_at + limits.linger;
    let mut items = H::count_items(&first.item.task);
    let mut lingers = !limits.linger.is_zero() && H::lingers(&first.item.task);
    let mut batch = vec![first];
    while items < limits.items_max {
        let next = match queued.try_recv() {
            Ok(next) => next,
            // The timer has a resolution of a millisecond, so that even no time at all could take one.
            Err(_) if !lingers => break,
            Err(_) => match timeout_at(deadline, queued.recv()).await {
                Ok(Some(next)) => next,
                Ok(None) | Err(_) => break,
            },
        };
        items += H::count_items(&next.item.task);
        lingers &= H::lingers(&next.item.task);
        batch.push(next);
    }
    batch
}

async fn execute_batch<H: BatchHandler>(handler: &H, mut batch: Vec<QueuedBatchItem<H>>) {
    // A caller that has stopped waiting may have submitted the task again.
    batch.retain(|queued| !queued.is_abandoned());
    let Some(first) = batch.first() else { return };
    let span = first.span.clone();
    let wait = metrics::histogram!("batch_wait_seconds", "batch" => H::NAME);
    for queued in &batch {
        wait.record(queued.submitted_at.elapsed());
    }
    let (items, answers): (Vec<_>, Vec<_>) = batch
        .into_iter()
        .map(|queued| (queued.item, queued.answer))
        .unzip();
    let results = execute_items(handler, &items).instrument(span).await;
    for (answer, result) in answers.into_iter().zip(results) {
        if let Some(answer) = answer {
            // The send fails when the caller has stopped waiting; the task is done all the same.
            let _ = answer.send(result);
        }
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
    let error = match handle_and_measure(handler, items).await {
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

/// Executes items as one batch and records the duration.
async fn handle_and_measure<H: BatchHandler>(
    handler: &H,
    items: &[BatchItem<H::Task>],
) -> Result<Vec<H::Answer>, H::Error> {
    let started_at = Instant::now();
    let handled = handler.handle(items).await;
    metrics::histogram!("batch_duration_seconds", "batch" => H::NAME).record(started_at.elapsed());
    handled
}

async fn execute_one<H: BatchHandler>(
    handler: &H,
    item: &BatchItem<H::Task>,
) -> Result<H::Answer, H::Error> {
    let mut answers = handle_and_measure(handler, std::slice::from_ref(item)).await?;
    let no_answer = || Error::internal("a batch has no answer for its only item").into();
    answers.pop().ok_or_else(no_answer)
}

#[cfg(test)]
mod tests;
