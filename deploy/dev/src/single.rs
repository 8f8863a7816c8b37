//! The commands for single processes of a stack.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::env::EnvVariables;
use crate::instance::UnitInstance;
use crate::settings::StackSettings;
use crate::stack::DevStack;
use crate::unit::StackUnit;
use crate::{cargo, env, install, lifecycle, parts, process, progress, secrets, stores, up};

#[derive(Args)]
pub(crate) struct RestartOptions {
    /// Name of the process; the second replica of a service is `<name>-2`
    #[arg(value_name = "NAME")]
    instance: UnitInstance,
    /// Do not build the program and do not migrate its schema
    #[arg(long)]
    no_build: bool,
    /// Additional variable of its environment, until the next restart
    #[arg(long = "env", value_name = "K=V", value_parser = parse_variable)]
    variables: Vec<(String, String)>,
}

#[derive(Args)]
pub(crate) struct RunOptions {
    /// Additional variable of its environment; before the name of the service
    #[arg(long = "env", value_name = "K=V", value_parser = parse_variable)]
    variables: Vec<(String, String)>,
    service: StackUnit,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

impl RunOptions {
    pub(crate) fn new(service: StackUnit, arguments: Vec<String>) -> Self {
        Self {
            variables: Vec::new(),
            service,
            arguments,
        }
    }
}

/// The command `restart`. It builds first, so that the old process keeps running if the build fails.
pub(crate) fn run_restart(stack: &DevStack, options: &RestartOptions) -> Result<()> {
    stack.create_dirs()?;
    let settings = StackSettings::load(stack);
    let instance = options.instance;
    let binary = instance.unit.binary().filter(|_| !options.no_build);
    if let Some(name) = &binary {
        cargo::build_programs(stack, settings.build, &cargo::BuildTargets::single(name))?;
    }
    lifecycle::stop_instances(stack, &[instance])?;
    if binary.is_some() && instance.unit.has_grpc() {
        up::migrate_service(stack, &settings, instance.unit)?;
    }
    start_one(stack, &settings, instance, &options.variables)
}

/// The command `start`.
pub(crate) fn run_start(stack: &DevStack, instance: UnitInstance) -> Result<()> {
    stack.create_dirs()?;
    if let Some(process) = process::find_running(stack, &instance.name()) {
        bail!("{instance} already runs, with pid {}", process.pid);
    }
    start_one(stack, &StackSettings::load(stack), instance, &Vec::new())
}

fn start_one(
    stack: &DevStack,
    settings: &StackSettings,
    instance: UnitInstance,
    variables: &EnvVariables,
) -> Result<()> {
    if instance.unit.is_part() {
        parts::prepare_parts(stack)?;
    }
    lifecycle::start_instances(stack, settings, &[instance], variables)
}

#[derive(Args)]
pub(crate) struct StopOptions {
    /// Name of the process
    #[arg(value_name = "NAME")]
    instance: UnitInstance,
    /// Delete its data as well: of redis, nats or s3
    #[arg(long)]
    wipe: bool,
}

/// The command `stop`.
pub(crate) fn run_stop(stack: &DevStack, options: &StopOptions) -> Result<()> {
    let instance = options.instance;
    if process::find_running(stack, &instance.name()).is_none() {
        progress::print_status(&instance.name(), "not up", "");
    }
    lifecycle::stop_instances(stack, &[instance])?;
    if options.wipe {
        parts::wipe_part(stack, instance.unit)?;
    }
    Ok(())
}

/// The command `kill`.
pub(crate) fn run_kill(stack: &DevStack, instance: UnitInstance) -> Result<()> {
    let state = if process::find_running(stack, &instance.name()).is_some() {
        "killed"
    } else {
        "not up"
    };
    lifecycle::kill_instance(stack, instance)?;
    progress::print_status(&instance.name(), state, "");
    Ok(())
}

/// The command `demo`.
pub(crate) fn run_demo(stack: &DevStack) -> Result<ExitCode> {
    if process::find_running(stack, StackUnit::Gateway.name()).is_none() {
        bail!(
            "the stack `{}` is not up (`{} up`)",
            stack.name(),
            stack.command()
        );
    }
    Ok(up::exit_code(up::run_demo(
        stack,
        &StackSettings::load(stack),
    )?))
}

/// The command `run`: replaces the runner with the binary of the service, which then owns terminal and exit
/// code.
pub(crate) fn run_binary(stack: &DevStack, options: &RunOptions) -> Result<ExitCode> {
    let service = options.service;
    if service.is_part() {
        bail!("{} is not one of the services", service.name());
    }
    let settings = StackSettings::load(stack);
    let mut command =
        lifecycle::build_service_command(stack, &settings, service.into(), &options.arguments)?;
    // Commands other than `serve` are those of an operator.
    if options
        .arguments
        .first()
        .is_none_or(|command| command != "serve")
    {
        command.envs(env::operator_variables(stack, service)?);
    }
    command.envs(options.variables.iter().cloned());
    Err(command.exec()).with_context(|| format!("cannot run {}", command.get_program().display()))
}

/// The command `otp`: replaces the runner with the client of Redis.
pub(crate) fn run_otp(stack: &DevStack, phone: &str) -> Result<ExitCode> {
    let mut command = Command::new(install::find_program("redis-cli")?);
    command
        .env(
            "REDISCLI_AUTH",
            secrets::redis_password(stack, stores::STORE_OPERATOR)?,
        )
        .args(stores::redis_cli_arguments(stack))
        .args(["--raw", "--user", stores::STORE_OPERATOR])
        .args(["get", &format!("otp:{phone}")]);
    Err(command.exec()).context("cannot run redis-cli")
}

pub(crate) fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("expected NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_has_a_name_and_any_value() {
        let variable = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse_variable("A=b=c"), variable("A", "b=c"));
        assert_eq!(parse_variable("A="), variable("A", ""));
        assert!(parse_variable("A").is_err());
        assert!(parse_variable("=b").is_err());
    }
}
