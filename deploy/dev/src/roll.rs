//! `roll`: a stack of its own with two replicas of everything, all of which are restarted one after
//! another under load.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::cargo::{self, Targets};
use crate::instance::REPLICAS_MAX;
use crate::job::Job;
use crate::progress;
use crate::session::{self, Session};
use crate::settings::{Build, Settings};
use crate::stack::{Stack, StackName};
use crate::up;

/// Makes the load, asks the runner for the restarts, and says what people noticed.
const PROGRAM: &str = "talktime-roll";
/// Fourteen restarts, with the drains that they wait for.
const DEADLINE: Duration = Duration::from_mins(15);
/// Long calls then pay for many minutes meanwhile.
const MINUTE_SECS: u32 = 5;

#[derive(Args)]
pub(crate) struct RollOptions {
    /// Build with optimizations
    #[arg(long)]
    release: bool,
    /// How much load: `-- --long-calls 50`; `-- --help` lists it all
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "LOAD"
    )]
    load: Vec<String>,
}

/// The command `roll`.
pub(crate) fn roll(options: &RollOptions) -> Result<ExitCode> {
    let stack = Stack::new(StackName::Roll);
    progress::say(format_args!("Talktime, stack `{}`", stack.name()));
    let build = if options.release {
        Build::Release
    } else {
        // As the tests have built them.
        Build::Failpoints
    };
    let settings = Settings {
        minute_secs: MINUTE_SECS,
        build,
        replicas: REPLICAS_MAX,
        ..Settings::default()
    };
    let session = Session::begin_anew(&stack)?;
    let outcome = raise_and_roll(&stack, &settings, &options.load);
    session.end()?;
    session::wipe(&stack)?;
    outcome
}

fn raise_and_roll(stack: &Stack, settings: &Settings, load: &[String]) -> Result<ExitCode> {
    up::raise(stack, settings, &Targets::Programs)?;
    let mut command = Command::new(stack.binary(PROGRAM));
    command
        .args(load)
        .envs(up::client_variables(stack, settings))
        .env("TALKTIME_DEV", cargo::runner(stack));
    let job = Job {
        stack,
        name: "roll",
        deadline: DEADLINE,
    };
    Ok(up::exit_code(job.run(&mut command)?))
}
