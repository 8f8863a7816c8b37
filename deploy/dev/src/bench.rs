//! The command `bench`: measures on a stack of its own that is built with optimizations and whose Postgres
//! flushes every commit to disk.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::cargo::BuildTargets;
use crate::job::RunnerJob;
use crate::progress;
use crate::session::{self, StackSession};
use crate::settings::{BuildProfile, StackSettings};
use crate::stack::{DevStack, StackName};
use crate::{cargo, install, up};

const PROGRAM: &str = "talktime-bench";
/// Time for all measurements one after another, including their preparation.
const DEADLINE: Duration = Duration::from_hours(4);
/// Length of a billed minute: ten thousand live calls are billed two thousand minutes a second.
const MINUTE_SECS: u32 = 5;

#[derive(Args)]
pub(crate) struct BenchOptions {
    /// Build without optimizations, to try a measurement; its figures compare only with each other
    #[arg(long)]
    debug: bool,
    /// The measurement and its options: `wallet`, `calls --seconds 10`; `help` lists them
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
    let stack = DevStack::new(StackName::Bench);
    progress::print_line(format_args!("Talktime, stack `{}`", stack.name()));
    let settings = StackSettings {
        minute_secs: MINUTE_SECS,
        build: if options.debug {
            BuildProfile::Debug
        } else {
            BuildProfile::Release
        },
        ..StackSettings::default()
    };
    let session = StackSession::begin_fresh(&stack)?;
    let outcome = start_and_measure(&stack, &settings, &options.measurement);
    session.end()?;
    session::wipe_stack(&stack)?;
    outcome
}

fn start_and_measure(
    stack: &DevStack,
    settings: &StackSettings,
    measurement: &[String],
) -> Result<ExitCode> {
    up::start_stack(stack, settings, &BuildTargets::stack_and(&[PROGRAM]))?;
    let mut command = Command::new(stack.binary(PROGRAM));
    command
        .args(measurement)
        .envs(up::client_variables(stack, settings))
        .env("TALKTIME_DEV", cargo::runner_path(stack))
        .env("PGBENCH", install::find_postgres_bin()?.join("pgbench"));
    let job = RunnerJob {
        stack,
        name: "bench",
        deadline: DEADLINE,
    };
    Ok(up::exit_code(job.run(&mut command)?))
}
