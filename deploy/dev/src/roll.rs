//! The command `roll`: restarts every process under load, one after another, on a stack of its own with two
//! replicas of each.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::cargo::{self, BuildTargets};
use crate::instance::REPLICAS_MAX;
use crate::job::RunnerJob;
use crate::progress;
use crate::session::{self, StackSession};
use crate::settings::{BuildProfile, StackSettings};
use crate::stack::{DevStack, StackName};
use crate::up;

/// Produces the load, requests the restarts from the runner, and reports failed requests.
const PROGRAM: &str = "talktime-roll";
/// Time for fourteen restarts, each of which waits for a drain.
const DEADLINE: Duration = Duration::from_mins(15);
/// Length of a billed minute, short enough for calls to pay for many of them.
const MINUTE_SECS: u32 = 5;

#[derive(Args)]
pub(crate) struct RollOptions {
    /// Build with optimizations
    #[arg(long)]
    release: bool,
    /// Options of the load: `-- --long-calls 50`; `-- --help` lists them
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "LOAD"
    )]
    load: Vec<String>,
}

/// The command `roll`.
pub(crate) fn run_roll(options: &RollOptions) -> Result<ExitCode> {
    let stack = DevStack::new(StackName::Roll);
    progress::print_line(format_args!("Talktime, stack `{}`", stack.name()));
    let build = if options.release {
        BuildProfile::Release
    } else {
        // The tests build the programs in the same way.
        BuildProfile::Failpoints
    };
    let settings = StackSettings {
        minute_secs: MINUTE_SECS,
        build,
        replicas: REPLICAS_MAX,
        ..StackSettings::default()
    };
    let session = StackSession::begin_fresh(&stack)?;
    let outcome = start_and_roll(&stack, &settings, &options.load);
    session.end()?;
    session::wipe_stack(&stack)?;
    outcome
}

fn start_and_roll(stack: &DevStack, settings: &StackSettings, load: &[String]) -> Result<ExitCode> {
    up::start_stack(stack, settings, &BuildTargets::stack_and(&[PROGRAM]))?;
    let mut command = Command::new(stack.binary(PROGRAM));
    command
        .args(load)
        .envs(up::client_variables(stack, settings)?)
        .env("TALKTIME_DEV", cargo::runner_path(stack));
    let job = RunnerJob {
        stack,
        name: "roll",
        deadline: DEADLINE,
    };
    Ok(up::exit_code(job.run(&mut command)?))
}
