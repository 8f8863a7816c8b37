//! Starting and stopping processes: spawn, wait until ready, stop in order.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::env::Variables;
use crate::instance::{self, Instance, REPLICAS_MAX};
use crate::process::{self, Ending, STOP_DEADLINE};
use crate::progress::{self, Step};
use crate::settings::Settings;
use crate::stack::Stack;
use crate::unit::{PARTS, Unit};
use crate::{cluster, env, interrupt, job, log, parts, ports, probe, wait};

/// How long processes that were just started may take until they are ready.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// How often a longer wait says what it is waiting for.
const REMINDER: Duration = Duration::from_secs(5);

/// A process that was spawned and is not ready yet.
struct Starting {
    instance: Instance,
    child: Child,
    step: Step,
    /// The length of its log before it wrote its first line.
    log_from: u64,
}

/// Starts these side by side and waits until all are ready. If one ends early or does not get
/// ready, the error holds the end of its log.
pub(crate) fn start(
    stack: &Stack,
    settings: &Settings,
    instances: &[Instance],
    extra: &Variables,
) -> Result<()> {
    ports::require_free(stack, instances)?;
    let mut waiting = Vec::new();
    for instance in instances {
        waiting.push(spawn(stack, settings, *instance, extra)?);
    }
    let deadline = Instant::now() + READY_DEADLINE;
    let mut remind_at = Instant::now() + REMINDER;
    while !waiting.is_empty() {
        interrupt::check()?;
        waiting = still_waiting(stack, waiting)?;
        if Instant::now() >= deadline {
            bail!("{}", too_late(stack, &waiting));
        }
        if Instant::now() >= remind_at && !waiting.is_empty() {
            progress::note("", "waiting", format_args!("for {}", names(&waiting)));
            remind_at += REMINDER;
        }
        wait::pause();
    }
    Ok(())
}

fn spawn(
    stack: &Stack,
    settings: &Settings,
    instance: Instance,
    extra: &Variables,
) -> Result<Starting> {
    let name = instance.name();
    let mut command = command(stack, settings, instance)?;
    command.envs(extra.iter().map(|(key, value)| (key, value)));
    let log_from = log::length(&stack.log(&name));
    let step = Step::start(name.clone());
    let child = process::spawn(stack, &name, &mut command)?;
    Ok(Starting {
        instance,
        child,
        step,
        log_from,
    })
}

fn command(stack: &Stack, settings: &Settings, instance: Instance) -> Result<Command> {
    match instance.unit {
        Unit::Postgres => cluster::serve(stack),
        Unit::Redis => parts::redis(stack),
        Unit::Nats => parts::nats(stack),
        Unit::S3 => Ok(parts::s3(stack)),
        _ => service_command(stack, settings, instance, &["serve".to_owned()]),
    }
}

/// A service's binary with any arguments, in the environment it serves in.
pub(crate) fn service_command(
    stack: &Stack,
    settings: &Settings,
    service: Instance,
    arguments: &[String],
) -> Result<Command> {
    let name = service
        .unit
        .binary()
        .with_context(|| format!("{service} is not ours"))?;
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
        .envs(env::of_service(stack, settings, service)?)
        .current_dir(stack.dir());
    Ok(command)
}

fn still_waiting(stack: &Stack, waiting: Vec<Starting>) -> Result<Vec<Starting>> {
    let mut rest = Vec::new();
    for mut starting in waiting {
        let instance = starting.instance;
        let ended = starting
            .child
            .try_wait()
            .context("cannot wait for a child")?;
        if let Some(status) = ended {
            let tail = log::tail(&stack.log(&instance.name()), starting.log_from);
            bail!("{instance} ended before it was ready ({status}):\n{tail}");
        }
        if probe::is_ready(stack, instance) {
            starting.step.done("ready");
            process::reap_in_background(starting.child);
        } else {
            rest.push(starting);
        }
    }
    Ok(rest)
}

fn too_late(stack: &Stack, waiting: &[Starting]) -> String {
    let tails: Vec<String> = waiting
        .iter()
        .map(|starting| {
            let name = starting.instance.name();
            format!(
                "{name}:\n{}",
                log::tail(&stack.log(&name), starting.log_from)
            )
        })
        .collect();
    format!(
        "not ready after {READY_DEADLINE:?}: {}\n{}",
        names(waiting),
        tails.join("\n")
    )
}

fn names(waiting: &[Starting]) -> String {
    let names: Vec<String> = waiting
        .iter()
        .map(|starting| starting.instance.name())
        .collect();
    names.join(", ")
}

/// The signal that makes a unit stop in good order. To Postgres SIGTERM would mean to wait for every
/// client to leave; SIGINT sends them away and stops cleanly all the same.
fn stop_signal(unit: Unit) -> Signal {
    match unit {
        Unit::Postgres => Signal::SIGINT,
        _ => Signal::SIGTERM,
    }
}

/// Stops these side by side: a request, a bounded wait, SIGKILL.
pub(crate) fn stop(stack: &Stack, instances: &[Instance]) -> Result<()> {
    let mut stopping = Vec::new();
    for instance in instances {
        if let Some(process) = process::recorded(&stack.pid_file(&instance.name())) {
            let step = process.is_alive().then(|| Step::start(instance.name()));
            process.signal(stop_signal(instance.unit))?;
            stopping.push((*instance, process, step));
        }
    }
    let deadline = Instant::now() + STOP_DEADLINE;
    for (instance, process, step) in stopping {
        let ending = process.wait_or_kill(deadline)?;
        forget(stack, instance);
        if let Some(step) = step {
            step.done(match ending {
                Ending::Orderly => "stopped",
                Ending::Killed => "killed",
            });
        }
    }
    Ok(())
}

/// Kills a process at once and waits until nothing of it is left.
pub(crate) fn kill(stack: &Stack, instance: Instance) -> Result<()> {
    if let Some(process) = process::recorded(&stack.pid_file(&instance.name())) {
        process.kill()?;
        forget(stack, instance);
    }
    Ok(())
}

fn forget(stack: &Stack, instance: Instance) {
    // If it stays, it names a process that is gone, which every reader checks.
    let _ = fs::remove_file(stack.pid_file(&instance.name()));
}

/// Stops everything of the stack: jobs, then the gateways, so that nothing new comes in, the services
/// side by side, and the parts they stood on, last started first. One that resists keeps none of the
/// others from being stopped; the first error is reported.
pub(crate) fn stop_all(stack: &Stack) -> Result<()> {
    let mut outcome = job::end_all(stack);
    let (gateways, services): (Vec<Instance>, Vec<Instance>) =
        instance::services(REPLICAS_MAX).partition(|service| service.unit == Unit::Gateway);
    outcome = outcome.and(stop(stack, &gateways));
    outcome = outcome.and(stop(stack, &services));
    for part in PARTS.into_iter().rev() {
        outcome = outcome.and(stop(stack, &[part.into()]));
    }
    outcome
}

/// The processes that are alive.
pub(crate) fn alive(stack: &Stack) -> Vec<Instance> {
    instance::all()
        .filter(|instance| process::running(stack, &instance.name()).is_some())
        .collect()
}
