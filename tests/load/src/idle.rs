//! A stack that nobody uses: the processor time and the memory of each of its processes.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use clap::Args;

use crate::figures::{self, BenchFigure};
use crate::process_usage::{self, ProcessStat};

const TITLE: &str = "A stack without users";
/// The programs of the platform whose memory is added up.
const SERVICES: [&str; 7] = [
    "talktime-auth",
    "talktime-calls",
    "talktime-gateway",
    "talktime-presence",
    "talktime-profile",
    "talktime-verification",
    "talktime-wallet",
];
const KIB_A_MIB: f64 = 1_024.0;

#[derive(Args)]
pub(crate) struct IdleOptions {
    /// Seconds to wait until what the start left is done
    #[arg(long, default_value_t = 30)]
    settle_secs: u64,
    /// Seconds of the measurement
    #[arg(long, default_value_t = 120)]
    watch_secs: u64,
}

/// Seconds of a processor of each program of the stack, with those of its children.
type BusyTimes = BTreeMap<String, f64>;

pub(crate) async fn run_bench(options: &IdleOptions) -> anyhow::Result<()> {
    println!("waiting {} s for the stack to settle", options.settle_secs);
    tokio::time::sleep(Duration::from_secs(options.settle_secs)).await;
    let before = read_busy_times()?;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(options.watch_secs)).await;
    let after = read_busy_times()?;
    let elapsed = begun.elapsed().as_secs_f64();
    let shares = after.iter().map(|(program, busy)| {
        let earlier = before.get(program).copied().unwrap_or_default();
        (program.clone(), 100.0 * (busy - earlier) / elapsed)
    });
    publish(&shares.collect(), &read_memory()?)
}

fn publish(shares: &BusyTimes, memory: &BTreeMap<String, f64>) -> anyhow::Result<()> {
    println!("\n{TITLE}");
    println!("  {:<24} {:>12} {:>10}", "", "% of a core", "MiB");
    for (program, share) in shares {
        let mib = memory.get(program).copied().unwrap_or_default();
        println!("  {program:<24} {share:>12.2} {mib:>10.1}");
    }
    let busy: f64 = shares.values().sum();
    let resident = SERVICES.iter().filter_map(|name| memory.get(*name)).sum();
    println!("  {:<24} {busy:>12.2}", "all");
    println!("  {:<24} {:>12} {resident:>10.1}", "the seven services", "");
    figures::append(&[
        BenchFigure::new(TITLE, "all processes", busy, "% of a core"),
        BenchFigure::new(TITLE, "memory of the seven services", resident, "MiB"),
    ])
}

/// Adds up the processor time of each program that the runner has started, and of all its children. Postgres has a
/// process for each connection; those that end leave their time to their parent.
fn read_busy_times() -> anyhow::Result<BusyTimes> {
    let mut busy = BusyTimes::new();
    let stats = read_stats()?;
    for (&pid, stat) in &stats {
        if let Some(program) = find_program(pid, &stats) {
            *busy.entry(program).or_default() += stat.own_secs + stat.child_secs;
        }
    }
    Ok(busy)
}

/// Adds up the resident memory of each program that the runner has started, in MiB, without that of its children, who
/// share most of it.
fn read_memory() -> anyhow::Result<BTreeMap<String, f64>> {
    let mut memory = BTreeMap::new();
    for (pid, stat) in read_stats()? {
        if stat.parent == parent_id() {
            let program = process_usage::read_program(pid)?;
            let kib = process_usage::read_memory_kib(pid)?;
            *memory.entry(program).or_default() += kib as f64 / KIB_A_MIB;
        }
    }
    Ok(memory)
}

/// Reads what Linux counts of all processes. One that ends meanwhile is left out.
fn read_stats() -> anyhow::Result<HashMap<u32, ProcessStat>> {
    let pids = process_usage::list_pids()?.into_iter();
    Ok(pids
        .filter_map(|pid| Some((pid, process_usage::read_stat(pid).ok()?)))
        .collect())
}

/// Finds the program of the stack that a process belongs to: that of its ancestor which the runner has started. The
/// measurement itself belongs to none.
fn find_program(pid: u32, stats: &HashMap<u32, ProcessStat>) -> Option<String> {
    let mut ancestor = pid;
    loop {
        let parent = stats.get(&ancestor)?.parent;
        if parent == parent_id() {
            break;
        }
        ancestor = parent;
    }
    if ancestor == std::process::id() {
        return None;
    }
    process_usage::read_program(ancestor).ok()
}
