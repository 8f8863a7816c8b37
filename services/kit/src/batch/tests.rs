use std::sync::Mutex;

use tokio::sync::Semaphore;

use super::*;

const LIMITS: BatchLimits = BatchLimits {
    items_max: 8,
    concurrent_max: 1,
    overlap_items_max: 8,
    queued_max: 64,
    linger: Duration::ZERO,
    when_full: QueueFullPolicy::Wait,
};

/// More turns than a task needs to start a batch.
const TURNS: usize = 16;

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
    const NAME: &'static str = "squares";
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
            return Err(Self::worker_gone());
        }
        Ok(numbers.into_iter().map(|number| number * number).collect())
    }

    fn fails_whole_batch(error: &Error) -> bool {
        error.kind() == ErrorKind::Unavailable
    }
}

/// Submits all numbers at the same time; no batch ends before all are submitted.
async fn submit_all(handler: &SquareHandler, numbers: &[u64]) -> Vec<Result<u64, Error>> {
    let batcher = Batcher::start(&ProcessLifecycle::default(), LIMITS, handler.clone());
    let submitted = join_all(numbers.iter().map(|number| batcher.submit(*number)));
    let release = async { handler.batch_permits.add_permits(numbers.len() + 1) };
    // `join!` polls in this order: every number is queued when the first batch may start.
    tokio::join!(submitted, release).0
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_hangs_ends_and_the_next_one_starts() {
    let handler = SquareHandler::new();
    let batcher = Batcher::start(&ProcessLifecycle::default(), LIMITS, handler.clone());
    let error = batcher.submit(3).await.expect_err("nobody lets it end");
    assert!(error.is_outcome_unknown(), "{error}");
    handler.batch_permits.add_permits(1);
    assert_eq!(batcher.submit(4).await.expect("squared"), 16);
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

/// Reports the size of each batch when it begins, and ends batches one by one.
struct BegunBatchHandler {
    batch_permits: Arc<Semaphore>,
    begun: mpsc::UnboundedSender<usize>,
}

impl BatchHandler for BegunBatchHandler {
    const NAME: &'static str = "begun";
    type Task = ();
    type Answer = ();
    type Error = Error;

    async fn handle(&self, batch: &[BatchItem<()>]) -> Result<Vec<()>, Error> {
        self.begun.send(batch.len()).expect("the test listens");
        let permit = self.batch_permits.acquire().await;
        permit.expect("never closed").forget();
        Ok(vec![(); batch.len()])
    }
}

#[tokio::test]
async fn small_batches_run_side_by_side_until_many_items_are_under_way() {
    let limits = BatchLimits {
        concurrent_max: 3,
        overlap_items_max: 2,
        ..LIMITS
    };
    let batch_permits = Arc::new(Semaphore::new(0));
    let (begun, mut begun_sizes) = mpsc::unbounded_channel();
    let handler = BegunBatchHandler {
        batch_permits: batch_permits.clone(),
        begun,
    };
    let batcher = Batcher::start(&ProcessLifecycle::default(), limits, handler);
    // The second one does not wait for the first one.
    for _ in 0..2 {
        batcher.submit_detached(());
        assert_eq!(begun_sizes.recv().await, Some(1));
    }
    for _ in 0..5 {
        batcher.submit_detached(());
    }
    // The worker has many turns in which it could start them. They wait, and go together when one of the two
    // batches has ended.
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
    assert!(begun_sizes.try_recv().is_err());
    batch_permits.add_permits(1);
    assert_eq!(begun_sizes.recv().await, Some(5));
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
            ErrorKind::Unavailable,
            "{number}"
        );
    }
    assert_eq!(handler.batch_sizes(), [3]);
}

#[tokio::test]
async fn a_panic_ends_only_its_own_batch() {
    let handler = SquareHandler::new();
    handler.batch_permits.add_permits(2);
    let batcher = Batcher::start(&ProcessLifecycle::default(), LIMITS, handler);
    let panicked = batcher.submit(17).await.expect_err("the batch panics");
    assert_eq!(panicked.kind(), ErrorKind::Unavailable);
    assert_eq!(batcher.submit(3).await.expect("squared"), 9);
}

/// Sums up lists of numbers; a number counts for one item. An empty list does not linger.
#[derive(Clone, Default)]
struct SumHandler {
    batches: Arc<Mutex<Vec<Vec<Vec<u64>>>>>,
}

impl SumHandler {
    fn batches(&self) -> Vec<Vec<Vec<u64>>> {
        self.batches.lock().expect("not poisoned").clone()
    }
}

impl BatchHandler for SumHandler {
    const NAME: &'static str = "sums";
    type Task = Vec<u64>;
    type Answer = u64;
    type Error = Error;

    async fn handle(&self, batch: &[BatchItem<Vec<u64>>]) -> Result<Vec<u64>, Error> {
        let lists: Vec<Vec<u64>> = batch.iter().map(|item| item.task.clone()).collect();
        let sums = lists.iter().map(|list| list.iter().sum()).collect();
        self.batches.lock().expect("not poisoned").push(lists);
        Ok(sums)
    }

    fn count_items(list: &Vec<u64>) -> usize {
        list.len()
    }

    fn lingers(list: &Vec<u64>) -> bool {
        !list.is_empty()
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_lingers_from_the_submission_of_its_first_item() {
    let limits = BatchLimits {
        linger: Duration::from_millis(10),
        ..LIMITS
    };
    let handler = SumHandler::default();
    let batcher = Batcher::start(&ProcessLifecycle::default(), limits, handler.clone());
    let submit_after = |delay_ms, number| {
        let batcher = batcher.clone();
        async move {
            tokio::time::sleep(Duration::from_millis(delay_ms)).await;
            batcher.submit(vec![number]).await.expect("a sum")
        }
    };
    let started_at = Instant::now();
    let (first, _, _) = tokio::join!(submit_after(0, 1), submit_after(9, 2), submit_after(15, 3));
    assert_eq!(first, 1);
    assert_eq!(handler.batches(), [vec![vec![1], vec![2]], vec![vec![3]]]);
    let passed = started_at.elapsed();
    assert!(passed < Duration::from_millis(30), "{passed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_linger() {
    let limits = BatchLimits {
        items_max: 3,
        linger: Duration::from_secs(10),
        ..LIMITS
    };
    let handler = SumHandler::default();
    let batcher = Batcher::start(&ProcessLifecycle::default(), limits, handler.clone());
    let started_at = Instant::now();
    let sums = tokio::join!(batcher.submit(vec![1, 2]), batcher.submit(vec![3, 4]));
    assert_eq!((sums.0.expect("a sum"), sums.1.expect("a sum")), (3, 7));
    assert_eq!(handler.batches(), [vec![vec![1, 2], vec![3, 4]]]);
    assert_eq!(started_at.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_does_not_linger_takes_along_those_that_do() {
    let limits = BatchLimits {
        linger: Duration::from_secs(10),
        ..LIMITS
    };
    let handler = SumHandler::default();
    let batcher = Batcher::start(&ProcessLifecycle::default(), limits, handler.clone());
    let started_at = Instant::now();
    let hurry = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        batcher.submit(vec![]).await
    };
    let sums = tokio::join!(batcher.submit(vec![1]), batcher.submit(vec![2]), hurry);
    assert_eq!(sums.2.expect("a sum"), 0);
    assert_eq!(handler.batches(), [vec![vec![1], vec![2], vec![]]]);
    assert_eq!(started_at.elapsed(), Duration::from_millis(5));
}

#[tokio::test]
async fn a_full_queue_rejects_tasks_where_the_limits_say_so() {
    let limits = BatchLimits {
        queued_max: 2,
        when_full: QueueFullPolicy::Reject,
        ..LIMITS
    };
    let batcher = Batcher::start(&ProcessLifecycle::default(), limits, SumHandler::default());
    // All are submitted before the worker runs for the first time.
    let answers = join_all((0..5).map(|number| batcher.submit(vec![number]))).await;
    let codes = answers.into_iter().map(|answer| match answer {
        Ok(_) => "answered".to_owned(),
        Err(error) => error.code().to_owned(),
    });
    let (overloaded, answered) = ("overloaded", "answered");
    let expected = [answered, answered, overloaded, overloaded, overloaded];
    assert_eq!(codes.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn the_worker_completes_detached_tasks_before_it_ends() {
    let handler = SumHandler::default();
    let (batcher, worker) = Batcher::new(LIMITS, handler.clone());
    batcher.submit_detached(vec![1]);
    batcher.submit_detached(vec![2]);
    drop(batcher);
    worker.await;
    assert_eq!(handler.batches(), [vec![vec![1], vec![2]]]);
}
