//! Processor time and memory of processes, read from /proc of Linux; see proc(5).

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Ticks of the scheduler a second, in which Linux counts the time of a process.
const TICKS_A_SECOND: f64 = 100.0;
/// Number of the field after the name of the program, the third, with which a list of the rest begins.
const FIRST_FIELD: usize = 3;
const PARENT: usize = 4;
/// The times in user and kernel mode of the process, and those of the children that it has outlived.
const OWN_TIMES: [usize; 2] = [14, 15];
const CHILD_TIMES: [usize; 2] = [16, 17];
/// The command of the agent of a relay.
const RELAY_AGENT: &[u8] = b"relay-agent";

/// The figures that Linux counts of a process.
pub(crate) struct ProcessStat {
    pub(crate) parent: u32,
    /// Seconds of a processor, without its children.
    pub(crate) own_secs: f64,
    /// Seconds of a processor that children took which have ended.
    pub(crate) child_secs: f64,
}

/// The memory of a process in KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ProcessMemory {
    /// All of its pages that are in memory, those of its program and of libraries included.
    pub(crate) resident: u64,
    /// The part that no file holds: heap, stacks, and data of the program that have changed.
    pub(crate) anonymous: u64,
    /// As resident, but each page divided by the number of processes that have it.
    pub(crate) proportional: u64,
}

/// Reads what Linux counts of a process.
pub(crate) fn read_stat(pid: u32) -> anyhow::Result<ProcessStat> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program may contain spaces; it ends with the last parenthesis.
    let (_, rest) = stat.rsplit_once(')').context("a name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let field = |number: usize| fields.get(number - FIRST_FIELD).context("a field");
    let secs = |numbers: [usize; 2]| {
        numbers.iter().try_fold(0.0, |sum, &number| {
            anyhow::Ok(sum + field(number)?.parse::<f64>()? / TICKS_A_SECOND)
        })
    };
    Ok(ProcessStat {
        parent: field(PARENT)?.parse()?,
        own_secs: secs(OWN_TIMES)?,
        child_secs: secs(CHILD_TIMES)?,
    })
}

/// Reads how much memory a process has.
pub(crate) fn read_memory(pid: u32) -> anyhow::Result<ProcessMemory> {
    let sums = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |name: &'static str| -> anyhow::Result<u64> {
        let line = sums.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.split_whitespace().next());
        kib.context(name)?.parse().context(name)
    };
    Ok(ProcessMemory {
        resident: kib("Rss:")?,
        anonymous: kib("Anonymous:")?,
        proportional: kib("Pss:")?,
    })
}

/// Reads the name of the program that a process runs. The agent of a relay has one of its own, though it is a command of
/// calls.
pub(crate) fn read_program(pid: u32) -> anyhow::Result<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline"))?;
    let mut arguments = line.split(|&byte| byte == 0);
    let program = String::from_utf8_lossy(arguments.next().unwrap_or_default()).into_owned();
    let name = Path::new(&program).file_name().context("a program")?;
    let name = name.to_string_lossy().into_owned();
    Ok(match arguments.next() {
        Some(RELAY_AGENT) => format!("{name} {}", String::from_utf8_lossy(RELAY_AGENT)),
        _ => name,
    })
}

/// Lists the pids of all processes.
pub(crate) fn list_pids() -> anyhow::Result<Vec<u32>> {
    let entries = fs::read_dir("/proc")?;
    Ok(entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect())
}
