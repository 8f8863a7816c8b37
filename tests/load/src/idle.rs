//! A stack that nobody uses: the processor time and the memory of each of its processes, how often their loops turn, and
//! how many transactions Postgres has.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use clap::Args;
use sqlx::{Connection, PgConnection};

use crate::figures::{self, BenchFigure};
use crate::ops_metrics::ProcessMetrics;
use crate::process_usage::{self, ProcessMemory, ProcessStat};
use crate::stack::read_variable;

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
/// The processes whose loops are counted.
const PROCESSES: [&str; 8] = [
    "auth",
    "calls",
    "gateway",
    "presence",
    "profile",
    "relay_agent",
    "verification",
    "wallet",
];
const TURNS: &str = "background_loop_turns_total";
/// Loops that turn more seldom are not printed.
const PRINTED_TURNS_A_SECOND_MIN: f64 = 0.05;
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

/// Figures by the name of what they belong to.
type NamedFigures = BTreeMap<String, f64>;

/// Counts that the stack keeps itself, up to a moment.
struct WorkCounts {
    /// Turns of each loop.
    turns: NamedFigures,
    /// Transactions of Postgres.
    transactions: f64,
}

/// The result of the measurement.
struct IdleUsage {
    /// Percent of a core of each program, with its children.
    shares: NamedFigures,
    memory: BTreeMap<String, ProcessMemory>,
    /// Turns of each loop a second.
    turns: NamedFigures,
    /// Transactions a second.
    transactions: f64,
}

pub(crate) async fn run_bench(options: &IdleOptions) -> anyhow::Result<()> {
    println!("waiting {} s for the stack to settle", options.settle_secs);
    tokio::time::sleep(Duration::from_secs(options.settle_secs)).await;
    // Counters are read outside of the time that is measured, since reading them costs the processes some.
    let counts_before = WorkCounts::read().await?;
    let busy_before = read_busy_times()?;
    let begun = Instant::now();
    tokio::time::sleep(Duration::from_secs(options.watch_secs)).await;
    let busy_after = read_busy_times()?;
    let elapsed_secs = begun.elapsed().as_secs_f64();
    let counts_after = WorkCounts::read().await?;
    let mut shares = divide_growth(&busy_before, &busy_after, elapsed_secs);
    for share in shares.values_mut() {
        *share *= 100.0;
    }
    let transactions = counts_after.transactions - counts_before.transactions;
    IdleUsage {
        shares,
        memory: read_memory()?,
        turns: divide_growth(&counts_before.turns, &counts_after.turns, elapsed_secs),
        transactions: transactions / elapsed_secs,
    }
    .publish()
}

/// Returns by how much each figure has grown in a second.
fn divide_growth(before: &NamedFigures, after: &NamedFigures, elapsed_secs: f64) -> NamedFigures {
    let growth = after.iter().map(|(name, figure)| {
        let earlier = before.get(name).copied().unwrap_or_default();
        (name.clone(), (figure - earlier) / elapsed_secs)
    });
    growth.collect()
}

impl WorkCounts {
    async fn read() -> anyhow::Result<Self> {
        let mut turns = NamedFigures::new();
        for process in PROCESSES {
            let metrics = ProcessMetrics::read(process).await?;
            let loops = metrics.list_by(TURNS, "loop").into_iter();
            turns.extend(loops.map(|(name, count)| (format!("{process}: {name}"), count)));
        }
        Ok(Self {
            turns,
            transactions: count_transactions().await?,
        })
    }
}

async fn count_transactions() -> anyhow::Result<f64> {
    let mut database = PgConnection::connect(&read_variable("DATABASE_URL")?).await?;
    let transactions: f64 =
        sqlx::query_scalar("SELECT sum(xact_commit + xact_rollback)::float8 FROM pg_stat_database")
            .fetch_one(&mut database)
            .await?;
    database.close().await?;
    Ok(transactions)
}

impl IdleUsage {
    fn publish(&self) -> anyhow::Result<()> {
        self.print_processes();
        self.print_turns();
        let [resident, anonymous, proportional] = self.sum_services();
        figures::append(&[
            BenchFigure::new(TITLE, "all processes", self.sum_shares(), "% of a core"),
            BenchFigure::new(TITLE, "memory of the seven services", resident, "MiB"),
            BenchFigure::new(TITLE, "of it, held by no file", anonymous, "MiB"),
            BenchFigure::new(TITLE, "with shared pages divided", proportional, "MiB"),
            BenchFigure::new(TITLE, "transactions", self.transactions, "/s"),
        ])
    }

    fn print_processes(&self) {
        println!("\n{TITLE}");
        println!(
            "  {:<24} {:>12} {:>10} {:>10} {:>10}",
            "", "% of a core", "MiB: Rss", "anonymous", "Pss"
        );
        for (program, share) in &self.shares {
            let memory = self.memory.get(program).copied().unwrap_or_default();
            let [resident, anonymous, proportional] = to_mib(memory);
            println!(
                "  {program:<24} {share:>12.2} {resident:>10.1} {anonymous:>10.1} {proportional:>10.1}"
            );
        }
        let [resident, anonymous, proportional] = self.sum_services();
        println!("  {:<24} {:>12.2}", "all", self.sum_shares());
        println!(
            "  {:<24} {:>12} {resident:>10.1} {anonymous:>10.1} {proportional:>10.1}",
            "the seven services", ""
        );
    }

    fn print_turns(&self) {
        println!("\n  {:<48} {:>10}", "", "a second");
        println!("  {:<48} {:>10.2}", "transactions", self.transactions);
        let mut turns: Vec<(&String, &f64)> = self.turns.iter().collect();
        turns.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        for (name, turns) in turns {
            if *turns >= PRINTED_TURNS_A_SECOND_MIN {
                println!("  {name:<48} {turns:>10.2}");
            }
        }
    }

    fn sum_shares(&self) -> f64 {
        self.shares.values().sum()
    }

    /// Adds up the memory of the seven services in MiB.
    fn sum_services(&self) -> [f64; 3] {
        let services = SERVICES.iter().filter_map(|name| self.memory.get(*name));
        to_mib(services.fold(ProcessMemory::default(), add_memory))
    }
}

/// Returns resident, anonymous and proportional memory in MiB.
fn to_mib(memory: ProcessMemory) -> [f64; 3] {
    let ProcessMemory {
        resident,
        anonymous,
        proportional,
    } = memory;
    [resident, anonymous, proportional].map(|kib| kib as f64 / KIB_A_MIB)
}

fn add_memory(sum: ProcessMemory, memory: &ProcessMemory) -> ProcessMemory {
    ProcessMemory {
        resident: sum.resident + memory.resident,
        anonymous: sum.anonymous + memory.anonymous,
        proportional: sum.proportional + memory.proportional,
    }
}

/// Adds up the seconds of a processor of each program that the runner has started, and of all its children. Postgres has
/// a process for each connection; those that end leave their time to their parent.
fn read_busy_times() -> anyhow::Result<NamedFigures> {
    let mut busy = NamedFigures::new();
    let stats = read_stats()?;
    for (&pid, stat) in &stats {
        if let Some(program) = find_program(pid, &stats) {
            *busy.entry(program).or_default() += stat.own_secs + stat.child_secs;
        }
    }
    Ok(busy)
}

/// Adds up the memory of each program that the runner has started, without that of its children, who share most of it.
fn read_memory() -> anyhow::Result<BTreeMap<String, ProcessMemory>> {
    let mut memory = BTreeMap::<String, ProcessMemory>::new();
    for (pid, stat) in read_stats()? {
        if stat.parent == parent_id() {
            let sum = memory.entry(process_usage::read_program(pid)?).or_default();
            *sum = add_memory(*sum, &process_usage::read_memory(pid)?);
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
