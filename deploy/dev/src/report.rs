//! The commands that only print: `status`, `env`, `logs`.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};
use clap::Args;

use crate::instance::{self, UnitInstance};
use crate::settings::StackSettings;
use crate::stack::DevStack;
use crate::{probe, process, up};

#[derive(Args)]
pub(crate) struct LogsOptions {
    /// Name of the process (default: all)
    #[arg(value_name = "NAME")]
    instance: Option<UnitInstance>,
    /// Print new lines as they are written
    #[arg(short, long)]
    follow: bool,
    /// Greatest number of lines of each log
    #[arg(short = 'n', long, default_value_t = 200)]
    lines: u32,
}

/// The command `status`, which fails if a process that should run is not ready.
pub(crate) fn print_status(stack: &DevStack) -> ExitCode {
    let settings = StackSettings::load(stack);
    let mut all_ready = true;
    println!("{:<14} {:>8}  {:<12} STATE", "NAME", "PID", "PORTS");
    for instance in instance::all_instances() {
        let process = process::find_running(stack, &instance.name());
        let is_wanted = settings.list_parts().contains(&instance)
            || settings.list_services().contains(&instance);
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
pub(crate) fn print_env(stack: &DevStack) -> Result<()> {
    for (name, value) in up::client_variables(stack, &StackSettings::load(stack))? {
        println!("{name}={value}");
    }
    Ok(())
}

/// The command `logs`, which replaces the runner with `tail`.
pub(crate) fn print_logs(stack: &DevStack, options: &LogsOptions) -> Result<ExitCode> {
    let instances: Vec<UnitInstance> = options.instance.map_or_else(
        || instance::all_instances().collect(),
        |instance| vec![instance],
    );
    let files: Vec<PathBuf> = instances
        .into_iter()
        .map(|instance| stack.log_file(&instance.name()))
        .filter(|file| file.exists())
        .collect();
    if files.is_empty() {
        bail!("nothing has been logged yet");
    }
    let mut command = Command::new("tail");
    command.arg("-n").arg(options.lines.to_string());
    if options.follow {
        // The log of a restarted stack is a new file, so files are followed by name.
        command.arg("-F");
    }
    Err(command.args(files).exec().into())
}
