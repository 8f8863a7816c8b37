//! Calls under a seeded scheduler: replicas crash, messages are lost, come twice and overtake each
//! other, the wallet goes away, clocks are wrong by up to 30 s, people are deleted while calls begin. The decisions are the service's own
//! (`domain::steps`); rows and wallet are models of what their statements do.
//!
//! A seed that fails is printed; with it in `TALKTIME_SIMULATION_SEED` it runs again with a log of
//! what happened. `TALKTIME_SIMULATION_SEEDS` says how many seeds are tried.

mod checks;
mod driver;
mod people;
mod runtime;
mod wallet;
mod world;

use std::cell::Cell;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use self::people::{PEOPLE, boot, limits, misfortune, person};
use self::runtime::{Executor, Owner, Runtime};
use self::world::{REPLICAS, World};

const SEEDS: u64 = 10_000;
/// In every so many seeds reservations are acknowledged and lost, and nothing else goes wrong.
const LOSES_ROWS_EVERY: u64 = 8;
/// Lines of a failing seed's log that are printed.
const LOG_LINES: usize = 400;
/// Long after the last coin is spent and the last lease over.
const END_MS: i64 = 1_500_000;

/// Runs one seed; answers how many calls were made.
fn run(seed: u64, world: &World) -> usize {
    let runtime = world.runtime.clone();
    let mut executor = Executor::new(runtime.clone());
    for replica in 0..REPLICAS {
        boot(world, replica);
    }
    let done = Rc::new(Cell::new(0));
    for user_id in 0..PEOPLE {
        runtime.spawn(Owner::World, person(world.clone(), user_id, done.clone()));
    }
    runtime.spawn(Owner::World, misfortune(world.clone()));
    while world.is_rough.get() || done.get() < people_count() || !checks::is_quiet(world) {
        assert!(executor.step(), "seed {seed}: nothing goes on");
        assert!(runtime.now_ms() < END_MS, "seed {seed}: a call never ends");
    }
    checks::at_the_end(world);
    world.rows.borrow().calls.len()
}

fn people_count() -> usize {
    usize::try_from(PEOPLE).expect("a few")
}

fn world_of(seed: u64, is_logged: bool) -> World {
    // A grace for cancelled calls in every other seed: by default there is none.
    let cancel_grace_secs = if seed.is_multiple_of(2) { 0 } else { 4 };
    let loses_rows = seed % LOSES_ROWS_EVERY == 1;
    let limits = limits(cancel_grace_secs);
    World::new(Runtime::new(seed), limits, loses_rows, is_logged)
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(value.parse().expect("a number"))
}

#[test]
fn ten_thousand_seeds_keep_every_promise() {
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
                    calls.fetch_add(must_run(seed), Ordering::Relaxed);
                }
            });
        }
    });
    let (seeds, calls) = (seeds.end - seeds.start, calls.into_inner());
    println!("{seeds} seeds, {calls} calls");
    assert!(seeds < 100 || calls > 100, "nobody talks");
}

fn must_run(seed: u64) -> usize {
    let outcome = catch_unwind(AssertUnwindSafe(|| run(seed, &world_of(seed, false))));
    outcome.unwrap_or_else(|_| {
        tell(seed);
        panic!("seed {seed} fails: run it again with TALKTIME_SIMULATION_SEED={seed}");
    })
}

/// The same seed again, with a log.
fn tell(seed: u64) {
    let world = world_of(seed, true);
    let again = catch_unwind(AssertUnwindSafe(|| run(seed, &world)));
    assert!(again.is_err(), "seed {seed} does not replay");
    let log = world.log.take().unwrap_or_default();
    for line in log.iter().skip(log.len().saturating_sub(LOG_LINES)) {
        eprintln!("{line}");
    }
}
