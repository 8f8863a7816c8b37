//! Starts and stops processes: spawns them, waits until they are ready, stops them in order.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::env::EnvVariables;
use crate::instance::{self, REPLICAS_MAX, UnitInstance};
use crate::process::{self, STOP_DEADLINE, StopOutcome};
use crate::progress::{self, ProgressStep};
use crate::settings::StackSettings;
use crate::stack::DevStack;
use crate::unit::{PARTS, StackUnit};
use crate::{cluster, env, identities, interrupt, job, log, parts, ports, probe, relays, wait};

/// Time in which started processes must become ready.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// Interval at which a longer wait prints the processes that it waits for.
const REMINDER: Duration = Duration::from_secs(5);

/// A process that was started and is not ready yet.
struct PendingInstance {
    instance: UnitInstance,
    child: Child,
    step: ProgressStep,
    /// Length of its log before its first line.
    log_from: u64,
}

/// Starts processes side by side and waits until all are ready. If one ends early or does not become ready,
/// the error contains the end of its log.
pub(crate) fn start_instances(
    stack: &DevStack,
    settings: &StackSettings,
    instances: &[UnitInstance],
    extra: &EnvVariables,
) -> Result<()> {
    ports::require_free_ports(stack, instances)?;
    identities::issue_identities(stack)?;
    let mut waiting = Vec::new();
    for instance in instances {
        waiting.push(spawn_instance(stack, settings, *instance, extra)?);
    }
    let deadline = Instant::now() + READY_DEADLINE;
    let mut remind_at = Instant::now() + REMINDER;
    while !waiting.is_empty() {
        interrupt::fail_if_requested()?;
        waiting = collect_pending(stack, waiting)?;
        if Instant::now() >= deadline {
            bail!("{}", describe_timeout(stack, &waiting));
        }
        if Instant::now() >= remind_at && !waiting.is_empty() {
            progress::print_status("", "waiting", format_args!("for {}", join_names(&waiting)));
            remind_at += REMINDER;
        }
        wait::sleep_briefly();
    }
    if instances.contains(&StackUnit::Nats.into()) {
        parts::create_stream(stack)?;
    }
    Ok(())
}

fn spawn_instance(
    stack: &DevStack,
    settings: &StackSettings,
    instance: UnitInstance,
    extra: &EnvVariables,
) -> Result<PendingInstance> {
    let name = instance.name();
    let mut command = build_command(stack, settings, instance)?;
    command.envs(extra.iter().map(|(key, value)| (key, value)));
    let log_from = log::read_length(&stack.log_file(&name));
    let step = ProgressStep::start(name.clone());
    let child = process::spawn_logged(stack, &name, &mut command)?;
    Ok(PendingInstance {
        instance,
        child,
        step,
        log_from,
    })
}

fn build_command(
    stack: &DevStack,
    settings: &StackSettings,
    instance: UnitInstance,
) -> Result<Command> {
    match instance.unit {
        StackUnit::Postgres => {
            cluster::install_certificate(stack)?;
            cluster::build_server_command(stack)
        }
        StackUnit::Redis => parts::build_redis_command(stack),
        StackUnit::Nats => parts::build_nats_command(stack),
        StackUnit::S3 => Ok(parts::build_s3_command(stack)),
        StackUnit::Page => parts::build_page_command(stack, settings),
        StackUnit::RelayRedis => relays::build_redis_command(stack, instance),
        StackUnit::Coturn => relays::build_coturn_command(stack, instance),
        StackUnit::RelayAgent => {
            build_service_command(stack, settings, instance, &["relay-agent".to_owned()])
        }
        _ => build_service_command(stack, settings, instance, &["serve".to_owned()]),
    }
}

/// Returns the command that runs the binary of a service with these arguments, in its usual environment.
pub(crate) fn build_service_command(
    stack: &DevStack,
    settings: &StackSettings,
    service: UnitInstance,
    arguments: &[String],
) -> Result<Command> {
    let name = service
        .unit
        .binary()
        .with_context(|| format!("{service} is not one of the services"))?;
    let binary = stack.binary(&name);
    if !binary.exists() {
        bail!(
            "the stack has no {name} yet; `{} restart {service}` builds it",
            stack.command()
        );
    }
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .envs(env::service_variables(stack, settings, service)?)
        .current_dir(stack.dir());
    Ok(command)
}

fn collect_pending(
    stack: &DevStack,
    waiting: Vec<PendingInstance>,
) -> Result<Vec<PendingInstance>> {
    let mut rest = Vec::new();
    for mut starting in waiting {
        let instance = starting.instance;
        let ended = starting
            .child
            .try_wait()
            .context("cannot wait for a child")?;
        if let Some(status) = ended {
            let tail = log::format_tail(&stack.log_file(&instance.name()), starting.log_from);
            bail!("{instance} ended before it was ready ({status}):\n{tail}");
        }
        if probe::is_ready(stack, instance) {
            starting.step.finish("ready");
            process::reap_in_background(starting.child);
        } else {
            rest.push(starting);
        }
    }
    Ok(rest)
}

fn describe_timeout(stack: &DevStack, waiting: &[PendingInstance]) -> String {
    let tails: Vec<String> = waiting
        .iter()
        .map(|starting| {
            let name = starting.instance.name();
            format!(
                "{name}:\n{}",
                log::format_tail(&stack.log_file(&name), starting.log_from)
            )
        })
        .collect();
    format!(
        "not ready after {READY_DEADLINE:?}: {}\n{}",
        join_names(waiting),
        tails.join("\n")
    )
}

fn join_names(waiting: &[PendingInstance]) -> String {
    let names: Vec<String> = waiting
        .iter()
        .map(|starting| starting.instance.name())
        .collect();
    names.join(", ")
}

/// Returns the signal that stops a unit cleanly. Postgres would wait for its clients after SIGTERM, but
/// disconnects them after SIGINT.
fn stop_signal(unit: StackUnit) -> Signal {
    match unit {
        StackUnit::Postgres => Signal::SIGINT,
        _ => Signal::SIGTERM,
    }
}

/// Stops processes side by side: a signal, a bounded wait, then SIGKILL.
pub(crate) fn stop_instances(stack: &DevStack, instances: &[UnitInstance]) -> Result<()> {
    let mut stopping = Vec::new();
    for instance in instances {
        if let Some(process) = process::read_pid_file(&stack.pid_file(&instance.name())) {
            let step = process
                .is_alive()
                .then(|| ProgressStep::start(instance.name()));
            process.signal(stop_signal(instance.unit))?;
            stopping.push((*instance, process, step));
        }
    }
    let deadline = Instant::now() + STOP_DEADLINE;
    for (instance, process, step) in stopping {
        let ending = process.wait_or_kill(deadline)?;
        remove_pid_file(stack, instance);
        if let Some(step) = step {
            step.finish(match ending {
                StopOutcome::Orderly => "stopped",
                StopOutcome::Killed => "killed",
            });
        }
    }
    Ok(())
}

/// Kills a process and waits until it is gone together with its children.
pub(crate) fn kill_instance(stack: &DevStack, instance: UnitInstance) -> Result<()> {
    if let Some(process) = process::read_pid_file(&stack.pid_file(&instance.name())) {
        process.kill()?;
        remove_pid_file(stack, instance);
    }
    Ok(())
}

fn remove_pid_file(stack: &DevStack, instance: UnitInstance) {
    // A remaining file is harmless: it names a process that is gone, which every reader checks.
    let _ = fs::remove_file(stack.pid_file(&instance.name()));
}

/// Stops everything of the stack: jobs, then the gateways, so that no new requests arrive, then the services
/// side by side, and the parts in the opposite order of their start. A failure does not prevent the others
/// from being stopped; the first error is returned.
pub(crate) fn stop_stack(stack: &DevStack) -> Result<()> {
    let mut outcome = job::stop_all_jobs(stack);
    let (gateways, services): (Vec<UnitInstance>, Vec<UnitInstance>) =
        instance::service_instances(REPLICAS_MAX)
            .partition(|service| service.unit == StackUnit::Gateway);
    outcome = outcome.and(stop_instances(stack, &gateways));
    outcome = outcome.and(stop_instances(stack, &services));
    for part in PARTS.into_iter().rev() {
        let instances: Vec<UnitInstance> = UnitInstance::replicas_of(part).collect();
        outcome = outcome.and(stop_instances(stack, &instances));
    }
    outcome
}

/// Lists the processes that are alive.
pub(crate) fn list_alive(stack: &DevStack) -> Vec<UnitInstance> {
    instance::all_instances()
        .filter(|instance| process::find_running(stack, &instance.name()).is_some())
        .collect()
}
