//! `bench`: measuring against a stack of its own, built with optimizations, whose Postgres syncs every
//! commit to disk.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::cargo::Targets;
use crate::job::Job;
use crate::progress;
use crate::session::{self, Session};
use crate::settings::{Build, Settings};
use crate::stack::{Stack, StackName};
use crate::{install, up};

const PROGRAM: &str = "talktime-bench";
/// All measurements one after the other, with the time to set each up.
const DEADLINE: Duration = Duration::from_hours(1);
/// Ten thousand live calls then have two thousand minutes to be billed each second.
const MINUTE_SECS: u32 = 5;

#[derive(Args)]
pub(crate) struct BenchOptions {
    /// What to measure, and how: `wallet`, `calls --seconds 10`; `help` lists it all
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "WHAT"
    )]
    what: Vec<String>,
}

/// The command `bench`.
pub(crate) fn bench(options: &BenchOptions) -> Result<ExitCode> {
    let stack = Stack::new(StackName::Bench);
    progress::say(format_args!("Talktime, stack `{}`", stack.name()));
    let settings = Settings {
        minute_secs: MINUTE_SECS,
        build: Build::Release,
        ..Settings::default()
    };
    let session = Session::begin_anew(&stack)?;
    let outcome = raise_and_measure(&stack, &settings, &options.what);
    session.end()?;
    session::wipe(&stack)?;
    outcome
}

fn raise_and_measure(stack: &Stack, settings: &Settings, what: &[String]) -> Result<ExitCode> {
    up::raise(stack, settings, &Targets::Programs)?;
    let mut command = Command::new(stack.binary(PROGRAM));
    command
        .args(what)
        .envs(up::client_variables(stack, settings))
        .env("PGBENCH", install::postgres_bin()?.join("pgbench"));
    let job = Job {
        stack,
        name: "bench",
        deadline: DEADLINE,
    };
    Ok(up::exit_code(job.run(&mut command)?))
}
