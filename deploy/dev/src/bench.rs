//! The command `bench`: measures on a stack of its own that is built with optimizations and whose Postgres
//! flushes every commit to disk.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::Args;

use crate::cargo::BuildTargets;
use crate::env::EnvVariables;
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
const MEASUREMENTS: [&str; 10] = [
    "idle",
    "auth",
    "wallet",
    "calls",
    "heartbeat",
    "fanout",
    "feed",
    "media",
    "gateway",
    TRANSPORT,
];
/// The measurement of what encryption costs. A second stack runs beside that of the bench, in clear.
const TRANSPORT: &str = "transport";
/// The beginning of the variables with the addresses of that stack.
const PLAINTEXT_PREFIX: &str = "PLAINTEXT_";
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
        _ => run_measurement(build, &options.measurement, Vec::new()),
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
    // Encryption is measured in builds with optimizations alone.
    let has_transport = build == BuildProfile::Release;
    let names = MEASUREMENTS.into_iter();
    for name in names.filter(|name| *name != TRANSPORT || has_transport) {
        let mut measurement = vec![name.to_owned()];
        measurement.extend_from_slice(options);
        let variables = vec![(FIGURES_VARIABLE.to_owned(), figures.display().to_string())];
        let measured = run_measurement(build, &measurement, variables);
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

/// Runs one measurement on a new stack, or on two for that of encryption.
fn run_measurement(
    build: BuildProfile,
    measurement: &[String],
    variables: EnvVariables,
) -> Result<ExitCode> {
    let measure_bench = |variables| {
        let targets = BuildTargets::stack_and(&[PROGRAM]);
        use_new_stack(StackName::Bench, build, &targets, |stack, settings| {
            measure(stack, settings, measurement, variables)
        })
    };
    if measurement.first().is_none_or(|name| name != TRANSPORT) {
        return measure_bench(variables);
    }
    ensure!(
        build == BuildProfile::Release,
        "`{TRANSPORT}` compares builds with optimizations"
    );
    let (plaintext, targets) = (BuildProfile::Plaintext, BuildTargets::stack_and(&[]));
    use_new_stack(
        StackName::Plaintext,
        plaintext,
        &targets,
        |stack, settings| {
            let addresses = up::client_variables(stack, settings)?.into_iter();
            let addresses =
                addresses.map(|(name, value)| (PLAINTEXT_PREFIX.to_owned() + &name, value));
            measure_bench(variables.into_iter().chain(addresses).collect())
        },
    )
}

/// Starts a new stack, and stops it and deletes its data after `use_stack`.
fn use_new_stack(
    name: StackName,
    build: BuildProfile,
    targets: &BuildTargets,
    use_stack: impl FnOnce(&DevStack, &StackSettings) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let stack = DevStack::new(name);
    progress::print_line(format_args!("Talktime, stack `{}`", stack.name()));
    let settings = StackSettings {
        minute_secs: MINUTE_SECS,
        build,
        ..StackSettings::default()
    };
    let session = StackSession::begin_fresh(&stack)?;
    let started = up::start_stack(&stack, &settings, targets);
    let outcome = started.and_then(|()| use_stack(&stack, &settings));
    session.end()?;
    session::wipe_stack(&stack)?;
    outcome
}

fn measure(
    stack: &DevStack,
    settings: &StackSettings,
    measurement: &[String],
    variables: EnvVariables,
) -> Result<ExitCode> {
    let mut command = Command::new(stack.binary(PROGRAM));
    command
        .args(measurement)
        .envs(up::client_variables(stack, settings)?)
        .env("TALKTIME_DEV", cargo::runner_path(stack))
        .env("PGBENCH", install::find_postgres_bin()?.join("pgbench"))
        .envs(variables);
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
