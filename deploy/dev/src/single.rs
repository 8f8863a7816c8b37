//! Commands on a single unit of a stack.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::env::Variables;
use crate::settings::Settings;
use crate::stack::Stack;
use crate::unit::Unit;
use crate::{cargo, lifecycle, parts, process, progress, up};

#[derive(Args)]
pub(crate) struct RestartOptions {
    /// Which one
    unit: Unit,
    /// Start the program as it is, without building it and migrating its schema
    #[arg(long)]
    no_build: bool,
    /// One more variable for its environment, until the next restart
    #[arg(long = "env", value_name = "K=V", value_parser = parse_variable)]
    variables: Vec<(String, String)>,
}

#[derive(Args)]
pub(crate) struct RunOptions {
    /// One more variable for its environment; before the service's name
    #[arg(long = "env", value_name = "K=V", value_parser = parse_variable)]
    variables: Vec<(String, String)>,
    service: Unit,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl RunOptions {
    pub(crate) fn new(service: Unit, arguments: Vec<String>) -> Self {
        Self {
            variables: Vec::new(),
            service,
            arguments,
        }
    }
}

/// The command `restart`. Builds first: the old one serves meanwhile, and goes on if the build fails.
pub(crate) fn restart(stack: &Stack, options: &RestartOptions) -> Result<()> {
    stack.make_dirs()?;
    let settings = Settings::load(stack);
    let unit = options.unit;
    let binary = unit.binary().filter(|_| !options.no_build);
    if let Some(name) = &binary {
        cargo::build(stack, settings.build, &cargo::Targets::Program(name))?;
    }
    lifecycle::stop(stack, &[unit])?;
    if binary.is_some() && unit.has_grpc() {
        up::migrate(stack, &settings, unit)?;
    }
    start_stopped(stack, &settings, unit, &options.variables)
}

/// The command `start`.
pub(crate) fn start(stack: &Stack, unit: Unit) -> Result<()> {
    stack.make_dirs()?;
    if let Some(process) = process::running(stack, unit.name()) {
        bail!("{} already runs, with pid {}", unit.name(), process.pid);
    }
    start_stopped(stack, &Settings::load(stack), unit, &Vec::new())
}

fn start_stopped(
    stack: &Stack,
    settings: &Settings,
    unit: Unit,
    variables: &Variables,
) -> Result<()> {
    if unit.is_part() {
        parts::prepare(stack)?;
    }
    lifecycle::start(stack, settings, &[unit], variables)
}

/// The command `stop`.
pub(crate) fn stop(stack: &Stack, unit: Unit) -> Result<()> {
    if process::running(stack, unit.name()).is_none() {
        progress::note(unit.name(), "not up", "");
    }
    lifecycle::stop(stack, &[unit])
}

/// The command `kill`.
pub(crate) fn kill(stack: &Stack, unit: Unit) -> Result<()> {
    let state = if process::running(stack, unit.name()).is_some() {
        "killed"
    } else {
        "not up"
    };
    lifecycle::kill(stack, unit)?;
    progress::note(unit.name(), state, "");
    Ok(())
}

/// The command `demo`.
pub(crate) fn demo(stack: &Stack) -> Result<ExitCode> {
    if process::running(stack, Unit::Gateway.name()).is_none() {
        bail!(
            "the stack `{}` is not up (`{} up`)",
            stack.name(),
            stack.command()
        );
    }
    Ok(up::exit_code(up::run_demo(stack, &Settings::load(stack))?))
}

/// The command `run`: becomes the service's binary, so that terminal and exit code are its own.
pub(crate) fn run(stack: &Stack, options: &RunOptions) -> Result<ExitCode> {
    let service = options.service;
    if service.is_part() {
        bail!("{} is not one of the services", service.name());
    }
    let settings = Settings::load(stack);
    let mut command = lifecycle::service_command(stack, &settings, service, &options.arguments)?;
    command.envs(options.variables.iter().cloned());
    Err(command.exec()).with_context(|| format!("cannot run {}", command.get_program().display()))
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_a_name_and_a_value_that_may_hold_anything() {
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse_variable("A=b=c"), pair("A", "b=c"));
        assert_eq!(parse_variable("A="), pair("A", ""));
        assert!(parse_variable("A").is_err());
        assert!(parse_variable("=b").is_err());
    }
}
