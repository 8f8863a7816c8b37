//! `cargo dev`: the whole platform on one machine.
//!
//! `cargo dev up` takes a machine with nothing but Rust to a running Talktime with one demo call made;
//! `cargo dev test` runs all tests against a stack of its own, `cargo dev bench` measures on another, and
//! `cargo dev roll` restarts every process of a third under load. The other commands stop, start, kill and look at single processes, by hand or from tests of failures.
//!
//! How it is laid out, from the outside in:
//!
//! - `up`, `testing`, `bench`, `roll`, `single`, `report`, `docs`: the commands
//! - `audit`: what the logs hold when all tests have run
//! - `session`, `lock`, `reaper`: who is responsible for a stack, and that nothing is left of it
//! - `lifecycle`, `probe`: starting, waiting until ready, stopping
//! - `parts`, `cluster`, `databases`, `env`, `secrets`, `cargo`, `install`: what is started, and with what
//! - `process`, `job`, `procfs`, `ports`, `wait`: the machinery of the operating system
//! - `unit`, `instance`, `stack`, `settings`: the words all the others speak
//!
//! Plain blocking code without a runtime: it has to compile fast, and it mostly waits.

mod audit;
mod bench;
mod cargo;
mod cluster;
mod databases;
mod docs;
mod env;
mod install;
mod instance;
mod interrupt;
mod job;
mod lifecycle;
mod lock;
mod log;
mod parts;
mod ports;
mod probe;
mod process;
mod procfs;
mod progress;
mod reaper;
mod report;
mod roll;
mod secrets;
mod session;
mod settings;
mod single;
mod stack;
mod testing;
mod totals;
mod unit;
mod up;
mod wait;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::instance::Instance;
use crate::stack::{Stack, StackName};
use crate::unit::Unit;

#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev", version)]
#[command(about = "The whole platform on one machine")]
struct Options {
    /// Which stack the command is about
    #[arg(long, global = true, hide = true, value_enum, default_value = "dev")]
    stack: StackName,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install, build and start everything, and make a demo call
    Up(up::UpOptions),
    /// Stop everything
    Down {
        /// Delete the stack's data as well
        #[arg(long)]
        wipe: bool,
    },
    /// Show every process, and fail if one is not ready
    Status,
    /// Print the logs
    Logs(report::LogsOptions),
    /// Build one and start it anew
    Restart(single::RestartOptions),
    /// Start one that is stopped
    Start {
        #[arg(value_name = "NAME")]
        instance: Instance,
    },
    /// Stop one in good order
    Stop(single::StopOptions),
    /// Kill one with SIGKILL, as a crash would
    Kill {
        #[arg(value_name = "NAME")]
        instance: Instance,
    },
    /// Run the demo against the stack that is up
    Demo,
    /// Make the user with this phone number an admin
    GrantAdmin { phone: String },
    /// Run a service's binary with any arguments, as in `cargo dev run wallet dead-letters list`
    Run(single::RunOptions),
    /// Write `docs/openapi.json` and `docs/asyncapi.json` anew, from endpoints and sockets
    Docs,
    /// Print where everything is, as NAME=VALUE lines
    Env,
    /// Run all tests against a stack of their own
    Test(testing::TestOptions),
    /// Measure against a stack of its own, built with optimizations
    Bench(bench::BenchOptions),
    /// Restart every process under load, on a stack of its own with two replicas of each
    Roll(roll::RollOptions),
    /// Stop everything once standard input ends; started by the runner for itself
    #[command(hide = true)]
    Reap,
}

fn main() -> ExitCode {
    let options = Options::parse();
    run(options).unwrap_or_else(|error| {
        progress::say(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run(options: Options) -> Result<ExitCode> {
    interrupt::listen()?;
    let stack = Stack::new(options.stack);
    match options.command {
        Command::Up(options) => return up::up(&stack, &options),
        Command::Down { wipe } => up::down(&stack, wipe)?,
        Command::Status => return Ok(report::status(&stack)),
        Command::Logs(options) => return report::logs(&stack, &options),
        Command::Restart(options) => single::restart(&stack, &options)?,
        Command::Start { instance } => single::start(&stack, instance)?,
        Command::Stop(options) => single::stop(&stack, &options)?,
        Command::Kill { instance } => single::kill(&stack, instance)?,
        Command::Demo => return single::demo(&stack),
        Command::GrantAdmin { phone } => {
            let arguments = vec!["grant-admin".to_owned(), phone];
            return single::run(&stack, &single::RunOptions::new(Unit::Profile, arguments));
        }
        Command::Run(options) => return single::run(&stack, &options),
        Command::Docs => docs::write(&stack)?,
        Command::Env => report::env(&stack),
        Command::Test(options) => return Ok(testing::test(&options)),
        Command::Bench(options) => return bench::bench(&options),
        Command::Roll(options) => return roll::roll(&options),
        Command::Reap => reaper::reap(&stack)?,
    }
    Ok(ExitCode::SUCCESS)
}
