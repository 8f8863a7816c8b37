//! The command `bench`: measures on a stack of its own that is built with optimizations and whose Postgres
//! flushes every commit to disk.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::cargo::BuildTargets;
use crate::job::RunnerJob;
use crate::progress;
use crate::session::{self, StackSession};
use crate::settings::{BuildProfile, StackSettings};
use crate::stack::{self, DevStack, StackName};
use crate::{cargo, install, interrupt, up};

const PROGRAM: &str = "talktime-bench";
/// Time for one measurement, including its preparation.
const DEADLINE: Duration = Duration::from_hours(4);
/// Length of a billed minute: ten thousand live calls are billed two thousand minutes a second.
const MINUTE_SECS: u32 = 5;
/// The name that stands for all measurements.
const ALL: &str = "all";
/// The measurements of a run of all, each on a new stack. `growth` takes hours and is run by itself.
const MEASUREMENTS: [&str; 9] = [
    "idle",
    "auth",
    "wallet",
    "calls",
    "heartbeat",
    "fanout",
    "feed",
    "media",
    "gateway",
];
/// The command of the program that writes the table of such a run.
const SUMMARY: &str = "summary";
/// The variable with the file to which measurements append their figures.
const FIGURES_VARIABLE: &str = "BENCH_FIGURES";
/// The folder of the tables and figures of such runs.
const FIGURES_DIR: &str = "target/bench";

#[derive(Args)]
pub(crate) struct BenchOptions {
    /// Build without optimizations, to try a measurement; its figures compare only with each other
    #[arg(long)]
    debug: bool,
    /// The measurement and its options: `wallet`, `calls --seconds 10`, or `all`, which also writes a table beside that
    /// of the run before (target/bench); `help` lists them
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "WHAT"
    )]
    measurement: Vec<String>,
}

/// The command `bench`.
pub(crate) fn run_bench(options: &BenchOptions) -> Result<ExitCode> {
    let build = if options.debug {
        BuildProfile::Debug
    } else {
        BuildProfile::Release
    };
    match options.measurement.split_first() {
        Some((name, rest)) if name == ALL => run_all(build, rest),
        _ => run_measurement(build, &options.measurement, &[]),
    }
}

/// Runs all measurements, also after one has failed, and writes their table.
fn run_all(build: BuildProfile, options: &[String]) -> Result<ExitCode> {
    let folder = stack::workspace_root().join(FIGURES_DIR);
    fs::create_dir_all(&folder)?;
    let figures = folder.join("run.jsonl");
    // A run that was interrupted has left its figures.
    fs::write(&figures, "")?;
    let mut outcome = ExitCode::SUCCESS;
    for name in MEASUREMENTS {
        let mut measurement = vec![name.to_owned()];
        measurement.extend_from_slice(options);
        let variables = [(FIGURES_VARIABLE, figures.as_path())];
        let measured = run_measurement(build, &measurement, &variables);
        if interrupt::is_requested() {
            return measured;
        }
        let failure = match measured {
            Ok(ExitCode::SUCCESS) => continue,
            Ok(_) => "failed".to_owned(),
            Err(error) => format!("failed: {error:#}"),
        };
        progress::print_line(format_args!("the measurement `{name}` {failure}"));
        outcome = ExitCode::FAILURE;
    }
    match summarize(&figures)? {
        ExitCode::SUCCESS => Ok(outcome),
        failure => Ok(failure),
    }
}

/// Runs one measurement on a new stack.
fn run_measurement(
    build: BuildProfile,
    measurement: &[String],
    variables: &[(&str, &Path)],
) -> Result<ExitCode> {
    let stack = DevStack::new(StackName::Bench);
    progress::print_line(format_args!("Talktime, stack `{}`", stack.name()));
    let settings = StackSettings {
        minute_secs: MINUTE_SECS,
        build,
        ..StackSettings::default()
    };
    let session = StackSession::begin_fresh(&stack)?;
    let outcome = start_and_measure(&stack, &settings, measurement, variables);
    session.end()?;
    session::wipe_stack(&stack)?;
    outcome
}

fn start_and_measure(
    stack: &DevStack,
    settings: &StackSettings,
    measurement: &[String],
    variables: &[(&str, &Path)],
) -> Result<ExitCode> {
    up::start_stack(stack, settings, &BuildTargets::stack_and(&[PROGRAM]))?;
    let mut command = Command::new(stack.binary(PROGRAM));
    command
        .args(measurement)
        .envs(up::client_variables(stack, settings)?)
        .env("TALKTIME_DEV", cargo::runner_path(stack))
        .env("PGBENCH", install::find_postgres_bin()?.join("pgbench"))
        .envs(variables.iter().copied());
    run_program(stack, &mut command)
}

/// Writes the table of a run of all measurements.
fn summarize(figures: &Path) -> Result<ExitCode> {
    let stack = DevStack::new(StackName::Bench);
    let mut command = Command::new(stack.binary(PROGRAM));
    command.arg(SUMMARY).env(FIGURES_VARIABLE, figures);
    run_program(&stack, &mut command)
}

fn run_program(stack: &DevStack, command: &mut Command) -> Result<ExitCode> {
    let job = RunnerJob {
        stack,
        name: "bench",
        deadline: DEADLINE,
    };
    Ok(up::exit_code(job.run(command)?))
}
