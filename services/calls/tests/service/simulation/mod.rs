//! Calls under a seeded scheduler: replicas crash, messages are lost, duplicated and reordered, the wallet
//! becomes unavailable, clocks are wrong by up to 30 s, and people are deleted while calls begin. The
//! decisions are those of the service (`domain::steps`); rows and wallet are models of what the statements
//! do.
//!
//! A failing seed is printed. With that seed in `TALKTIME_SIMULATION_SEED` the test runs it again and
//! prints a log of its events. `TALKTIME_SIMULATION_SEEDS` sets the number of seeds.

mod checks;
mod deletion_driver;
mod devices;
mod driver;
mod minutes;
mod network;
mod people;
mod ringing_driver;
mod runtime;
mod sweep_driver;
mod wallet;
mod world;

use std::cell::Cell;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use self::devices::run_devices;
use self::people::{PEOPLE, cause_failures, run_person, saga_limits, start_replica};
use self::runtime::{SimulatedRuntime, TaskExecutor, TaskOwner};
use self::world::{REPLICAS, SimulatedWorld};

const SEEDS: u64 = 10_000;
/// One seed in this many loses acknowledged reservations and has no other failures.
const LOSES_ROWS_EVERY: u64 = 8;
/// Lines of the log of a failing seed to print.
const LOG_LINES: usize = 400;
/// Simulated time by which every coin is spent and every lease is over.
const END_MS: i64 = 1_500_000;

/// Runs one seed; returns the number of calls.
fn run(seed: u64, world: &SimulatedWorld) -> usize {
    let runtime = world.runtime.clone();
    let mut executor = TaskExecutor::new(runtime.clone());
    for replica in 0..REPLICAS {
        start_replica(world, replica);
    }
    let done = Rc::new(Cell::new(0));
    for user_id in 0..PEOPLE {
        runtime.spawn(TaskOwner::World, run_devices(world.clone(), user_id));
        runtime.spawn(
            TaskOwner::World,
            run_person(world.clone(), user_id, done.clone()),
        );
    }
    runtime.spawn(TaskOwner::World, cause_failures(world.clone()));
    while world.is_rough.get() || done.get() < people_count() || !checks::is_quiet(world) {
        assert!(executor.step(), "seed {seed}: nothing goes on");
        assert!(runtime.now_ms() < END_MS, "seed {seed}: a call never ends");
    }
    checks::assert_final_state(world);
    world.rows.borrow().calls.len()
}

fn people_count() -> usize {
    usize::try_from(PEOPLE).expect("a few")
}

fn build_world(seed: u64, is_logged: bool) -> SimulatedWorld {
    // Every other seed has a grace for cancelled calls. By default there is none.
    let cancel_grace_secs = if seed.is_multiple_of(2) { 0 } else { 4 };
    let loses_rows = seed % LOSES_ROWS_EVERY == 1;
    let limits = saga_limits(cancel_grace_secs);
    SimulatedWorld::new(SimulatedRuntime::new(seed), limits, loses_rows, is_logged)
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

#[test]
fn every_invariant_holds_for_ten_thousand_seeds() {
    let seeds = match number("TALKTIME_SIMULATION_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("TALKTIME_SIMULATION_SEEDS").unwrap_or(SEEDS),
    };
    let calls = AtomicUsize::new(0);
    let next = AtomicU64::new(seeds.start);
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    calls.fetch_add(run_or_panic(seed), Ordering::Relaxed);
                }
            });
        }
    });
    let (seeds, calls) = (seeds.end - seeds.start, calls.into_inner());
    println!("{seeds} seeds, {calls} calls");
    assert!(seeds < 100 || calls > 100, "nobody talks");
}

fn run_or_panic(seed: u64) -> usize {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &build_world(seed, false))));
    outcome.unwrap_or_else(|_| {
        print_failure_log(seed);
        panic!("seed {seed} fails: run it again with TALKTIME_SIMULATION_SEED={seed}");
    })
}

/// Runs the seed again with a log, and prints the log.
fn print_failure_log(seed: u64) {
    let world = build_world(seed, true);
    let again = catch_unwind(AssertUnwindSafe(|| run(seed, &world)));
    assert!(again.is_err(), "seed {seed} does not replay");
    let log = world.log.take().unwrap_or_default();
    for line in log.iter().skip(log.len().saturating_sub(LOG_LINES)) {
        eprintln!("{line}");
    }
}
