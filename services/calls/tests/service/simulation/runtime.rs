//! Time, randomness and tasks, all determined by a seed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use fastrand::Rng;

pub(super) type BoxedTask = Pin<Box<dyn Future<Output = ()>>>;

/// Owner of a task. The task dies with its owner.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TaskOwner {
    /// The simulated world itself, which never dies.
    World,
    Replica(usize),
}

/// Services for tasks: time, randomness and new tasks; cheap to clone.
#[derive(Clone)]
pub(super) struct SimulatedRuntime(Rc<RuntimeState>);

struct RuntimeState {
    now_ms: Cell<i64>,
    rng: RefCell<Rng>,
    /// Time at which the running task continues.
    wake_at_ms: Cell<i64>,
    spawned: RefCell<Vec<(TaskOwner, BoxedTask)>>,
    crashed: RefCell<Vec<TaskOwner>>,
}

impl SimulatedRuntime {
    pub(super) fn new(seed: u64) -> Self {
        Self(Rc::new(RuntimeState {
            now_ms: Cell::new(0),
            rng: RefCell::new(Rng::with_seed(seed)),
            wake_at_ms: Cell::new(0),
            spawned: RefCell::default(),
            crashed: RefCell::default(),
        }))
    }

    /// The true time, which no simulated part knows.
    pub(super) fn now_ms(&self) -> i64 {
        self.0.now_ms.get()
    }

    pub(super) fn between(&self, range: Range<i64>) -> i64 {
        self.0.rng.borrow_mut().i64(range)
    }

    pub(super) fn index(&self, below: usize) -> usize {
        self.0.rng.borrow_mut().usize(0..below)
    }

    pub(super) fn one_in(&self, many: i64) -> bool {
        self.between(0..many) == 0
    }

    /// Sleeps for a random time from `range`. A task sleeps in one place at a time.
    pub(super) async fn sleep(&self, range: Range<i64>) {
        let until_ms = self.now_ms() + self.between(range);
        poll_fn(|_| {
            if self.now_ms() >= until_ms {
                return Poll::Ready(());
            }
            self.0.wake_at_ms.set(until_ms);
            Poll::Pending
        })
        .await;
    }

    pub(super) fn spawn(&self, owner: TaskOwner, task: impl Future<Output = ()> + 'static) {
        self.0.spawned.borrow_mut().push((owner, Box::pin(task)));
    }

    /// Ends every task of this owner immediately.
    pub(super) fn crash(&self, owner: TaskOwner) {
        self.0.crashed.borrow_mut().push(owner);
    }
}

/// Runs tasks one at a time in the order of their times, and at random for the same time.
pub(super) struct TaskExecutor {
    runtime: SimulatedRuntime,
    queue: BTreeMap<(i64, u64), u64>,
    tasks: HashMap<u64, (TaskOwner, BoxedTask)>,
    next_id: u64,
}

impl TaskExecutor {
    pub(super) fn new(runtime: SimulatedRuntime) -> Self {
        Self {
            runtime,
            queue: BTreeMap::new(),
            tasks: HashMap::new(),
            next_id: 0,
        }
    }

    /// Runs one task until it sleeps; false if there is none.
    pub(super) fn step(&mut self) -> bool {
        self.take_spawned();
        let Some(((at_ms, _), id)) = self.queue.pop_first() else {
            return false;
        };
        let Some((_, task)) = self.tasks.get_mut(&id) else {
            return true;
        };
        let inner = &self.runtime.0;
        inner.now_ms.set(inner.now_ms.get().max(at_ms));
        let mut context = Context::from_waker(Waker::noop());
        if task.as_mut().poll(&mut context).is_ready() {
            self.tasks.remove(&id);
        } else {
            self.enqueue(id, self.runtime.0.wake_at_ms.get());
        }
        let crashed = self.runtime.0.crashed.take();
        self.tasks.retain(|_, (owner, _)| !crashed.contains(owner));
        true
    }

    fn take_spawned(&mut self) {
        for (owner, task) in self.runtime.0.spawned.take() {
            self.next_id += 1;
            self.tasks.insert(self.next_id, (owner, task));
            self.enqueue(self.next_id, self.runtime.now_ms());
        }
    }

    fn enqueue(&mut self, id: u64, at_ms: i64) {
        let chance = self.runtime.0.rng.borrow_mut().u64(..);
        self.queue.insert((at_ms, chance), id);
    }
}
