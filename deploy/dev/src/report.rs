//! Commands that only look: `status`, `env`, `logs`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use crate::instance::{self, Instance};
use crate::settings::Settings;
use crate::stack::Stack;
use crate::{probe, process, up};

#[derive(Args)]
pub(crate) struct LogsOptions {
    /// Of which one (default: all)
    #[arg(value_name = "NAME")]
    instance: Option<Instance>,
    /// Keep printing what is added
    #[arg(short, long)]
    follow: bool,
    /// How many lines of each log, at the most
    #[arg(short = 'n', long, default_value_t = 200)]
    lines: u32,
}

/// The command `status`: fails if anything that should be ready is not.
pub(crate) fn status(stack: &Stack) -> ExitCode {
    let settings = Settings::load(stack);
    let mut all_ready = true;
    println!("{:<14} {:>8}  {:<12} STATE", "NAME", "PID", "PORTS");
    for instance in instance::all() {
        let process = process::running(stack, &instance.name());
        let is_wanted = instance.unit.is_part() || settings.services().contains(&instance);
        if process.is_none() && !is_wanted {
            continue;
        }
        let state = match process {
            None => "down",
            Some(_) if probe::is_ready(stack, instance) => "ready",
            Some(_) => "up, not ready",
        };
        all_ready &= state == "ready";
        let pid = process.map_or_else(|| "-".to_owned(), |process| process.pid.to_string());
        let ports: Vec<String> = stack.ports(instance).map(|port| port.to_string()).collect();
        println!(
            "{:<14} {pid:>8}  {:<12} {state}",
            instance.name(),
            ports.join(" ")
        );
    }
    if all_ready {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The command `env`.
pub(crate) fn env(stack: &Stack) {
    for (name, value) in up::client_variables(stack, &Settings::load(stack)) {
        println!("{name}={value}");
    }
}

/// The command `logs`: becomes `tail`.
pub(crate) fn logs(stack: &Stack, options: &LogsOptions) -> Result<ExitCode> {
    let instances: Vec<Instance> = options
        .instance
        .map_or_else(|| instance::all().collect(), |instance| vec![instance]);
    let files: Vec<PathBuf> = instances
        .into_iter()
        .map(|instance| stack.log(&instance.name()))
        .filter(|file| file.exists())
        .collect();
    if files.is_empty() {
        bail!("nothing has been logged yet");
    }
    let mut command = Command::new("tail");
    command.arg("-n").arg(options.lines.to_string());
    if options.follow {
        // By name: the file of a stack that is started again is a new one.
        command.arg("-F");
    }
    Err(command.args(files).exec().into())
}
