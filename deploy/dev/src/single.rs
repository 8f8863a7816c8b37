//! Commands on a single process of a stack.

use std::os::unix::process::CommandExt;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::env::Variables;
use crate::instance::Instance;
use crate::settings::Settings;
use crate::stack::Stack;
use crate::unit::Unit;
use crate::{cargo, lifecycle, parts, process, progress, up};

#[derive(Args)]
pub(crate) struct RestartOptions {
    /// Which one; the second replica of a service is `<name>-2`
    #[arg(value_name = "NAME")]
    instance: Instance,
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
    let instance = options.instance;
    let binary = instance.unit.binary().filter(|_| !options.no_build);
    if let Some(name) = &binary {
        cargo::build(stack, settings.build, &cargo::Targets::Program(name))?;
    }
    lifecycle::stop(stack, &[instance])?;
    if binary.is_some() && instance.unit.has_grpc() {
        up::migrate(stack, &settings, instance.unit)?;
    }
    start_stopped(stack, &settings, instance, &options.variables)
}

/// The command `start`.
pub(crate) fn start(stack: &Stack, instance: Instance) -> Result<()> {
    stack.make_dirs()?;
    if let Some(process) = process::running(stack, &instance.name()) {
        bail!("{instance} already runs, with pid {}", process.pid);
    }
    start_stopped(stack, &Settings::load(stack), instance, &Vec::new())
}

fn start_stopped(
    stack: &Stack,
    settings: &Settings,
    instance: Instance,
    variables: &Variables,
) -> Result<()> {
    if instance.unit.is_part() {
        parts::prepare(stack)?;
    }
    lifecycle::start(stack, settings, &[instance], variables)
}

#[derive(Args)]
pub(crate) struct StopOptions {
    /// Which one
    #[arg(value_name = "NAME")]
    instance: Instance,
    /// Delete what it keeps as well: of redis, nats or s3
    #[arg(long)]
    wipe: bool,
}

/// The command `stop`.
pub(crate) fn stop(stack: &Stack, options: &StopOptions) -> Result<()> {
    let instance = options.instance;
    if process::running(stack, &instance.name()).is_none() {
        progress::note(&instance.name(), "not up", "");
    }
    lifecycle::stop(stack, &[instance])?;
    if options.wipe {
        parts::wipe(stack, instance.unit)?;
    }
    Ok(())
}

/// The command `kill`.
pub(crate) fn kill(stack: &Stack, instance: Instance) -> Result<()> {
    let state = if process::running(stack, &instance.name()).is_some() {
        "killed"
    } else {
        "not up"
    };
    lifecycle::kill(stack, instance)?;
    progress::note(&instance.name(), state, "");
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
    let mut command =
        lifecycle::service_command(stack, &settings, service.into(), &options.arguments)?;
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
