//! `cargo dev`: the whole platform on one machine.
//!
//! `cargo dev up` takes a machine with nothing but Rust to a running Talktime with one demo call made;
//! `cargo dev test` runs all tests against a stack of its own, `cargo dev bench` measures on another, and
//! `cargo dev roll` restarts every process of a third under load. The other commands stop, start, kill and
//! show single processes, by hand or from tests of failures.
//!
//! The modules, from the outside in:
//!
//! - `up`, `testing`, `bench`, `roll`, `single`, `restored`, `report`, `docs`: the commands
//! - `audit`: searches the logs for secrets after the tests
//! - `session`, `lock`, `reaper`: responsibility for a stack, so that no process of it remains
//! - `lifecycle`, `probe`: starting, waiting until ready, stopping
//! - `parts`, `cluster`, `databases`, `stores`, `env`, `secrets`, `cargo`, `install`: the programs and their settings
//! - `process`, `job`, `procfs`, `ports`, `wait`: the operating system
//! - `unit`, `instance`, `stack`, `settings`: the terms that all other modules use
//!
//! The code is blocking and has no runtime, because it has to compile fast and mostly waits.

mod audit;
mod bench;
mod cargo;
mod cluster;
mod database_urls;
mod databases;
mod docs;
mod env;
mod identities;
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
mod redis;
mod relays;
mod report;
mod restored;
mod roll;
mod secrets;
mod session;
mod settings;
mod single;
mod stack;
mod stack_limits;
mod stores;
mod testing;
mod totals;
mod unit;
mod up;
mod wait;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::instance::UnitInstance;
use crate::stack::{DevStack, StackName};
use crate::unit::StackUnit;

#[derive(Parser)]
#[command(name = "cargo dev", bin_name = "cargo dev", version)]
#[command(about = "The whole platform on one machine")]
struct RunnerOptions {
    /// The stack that the command is for
    #[arg(long, global = true, hide = true, value_enum, default_value = "dev")]
    stack: StackName,
    #[command(subcommand)]
    command: RunnerCommand,
}

#[derive(Subcommand)]
enum RunnerCommand {
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
    /// Build one process and start it again
    Restart(single::RestartOptions),
    /// Start a process that is stopped
    Start {
        #[arg(value_name = "NAME")]
        instance: UnitInstance,
    },
    /// Stop a process with SIGTERM
    Stop(single::StopOptions),
    /// Kill a process with SIGKILL, as a crash would
    Kill {
        #[arg(value_name = "NAME")]
        instance: UnitInstance,
    },
    /// Run the demo against the stack that is up
    Demo,
    /// Print the one-time password of a phone, which development does not send
    Otp { phone: String },
    /// Make the user with this phone number an admin
    GrantAdmin { phone: String },
    /// Run a service's binary with any arguments, as in `cargo dev run wallet dead-letters list`
    Run(single::RunOptions),
    /// Make a database safe that was restored to a moment of the past, while no service runs
    Restored(restored::RestoredOptions),
    /// Generate `docs/openapi.json`, `docs/asyncapi.json` and the users of NATS and Redis from the source
    Docs,
    /// Print the addresses of the stack as NAME=VALUE lines
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
    let options = RunnerOptions::parse();
    run(options).unwrap_or_else(|error| {
        progress::print_line(format_args!("error: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run(options: RunnerOptions) -> Result<ExitCode> {
    interrupt::install_handler()?;
    let stack = DevStack::new(options.stack);
    match options.command {
        RunnerCommand::Up(options) => return up::run_up(&stack, &options),
        RunnerCommand::Down { wipe } => up::run_down(&stack, wipe)?,
        RunnerCommand::Status => return Ok(report::print_status(&stack)),
        RunnerCommand::Logs(options) => return report::print_logs(&stack, &options),
        RunnerCommand::Restart(options) => single::run_restart(&stack, &options)?,
        RunnerCommand::Start { instance } => single::run_start(&stack, instance)?,
        RunnerCommand::Stop(options) => single::run_stop(&stack, &options)?,
        RunnerCommand::Kill { instance } => single::run_kill(&stack, instance)?,
        RunnerCommand::Demo => return single::run_demo(&stack),
        RunnerCommand::Otp { phone } => return single::run_otp(&stack, &phone),
        RunnerCommand::GrantAdmin { phone } => {
            let arguments = ["grant-admin", "--operator", "developer", &phone];
            let arguments = arguments.map(str::to_owned).to_vec();
            return single::run_binary(
                &stack,
                &single::RunOptions::new(StackUnit::Profile, arguments),
            );
        }
        RunnerCommand::Run(options) => return single::run_binary(&stack, &options),
        RunnerCommand::Restored(options) => return restored::run_restored(&stack, &options),
        RunnerCommand::Docs => docs::write_documents(&stack)?,
        RunnerCommand::Env => report::print_env(&stack)?,
        RunnerCommand::Test(options) => return Ok(testing::run_tests(&options)),
        RunnerCommand::Bench(options) => return bench::run_bench(&options),
        RunnerCommand::Roll(options) => return roll::run_roll(&options),
        RunnerCommand::Reap => reaper::run_reaper(&stack)?,
    }
    Ok(ExitCode::SUCCESS)
}
