//! Starting and stopping units: spawn, wait until ready, stop in order.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;

use crate::env::Variables;
use crate::process::{self, Ending, STOP_DEADLINE};
use crate::progress::{self, Step};
use crate::settings::Settings;
use crate::stack::Stack;
use crate::unit::{self, PARTS, Unit};
use crate::{cluster, env, interrupt, job, log, parts, ports, probe, wait};

/// How long units that were just started may take until they are ready.
const READY_DEADLINE: Duration = Duration::from_mins(1);
/// How often a longer wait says what it is waiting for.
const REMINDER: Duration = Duration::from_secs(5);

/// A unit that was spawned and is not ready yet.
struct Starting {
    unit: Unit,
    child: Child,
    step: Step,
    /// The length of its log before it wrote its first line.
    log_from: u64,
}

/// Starts these units side by side and waits until all are ready. If one ends early or does not get
/// ready, the error holds the end of its log.
pub(crate) fn start(
    stack: &Stack,
    settings: &Settings,
    units: &[Unit],
    extra: &Variables,
) -> Result<()> {
    ports::require_free(stack, units)?;
    let mut waiting = Vec::new();
    for unit in units {
        waiting.push(spawn(stack, settings, *unit, extra)?);
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

fn spawn(stack: &Stack, settings: &Settings, unit: Unit, extra: &Variables) -> Result<Starting> {
    let mut command = command(stack, settings, unit)?;
    command.envs(extra.iter().map(|(key, value)| (key, value)));
    let log_from = log::length(&stack.log(unit.name()));
    let step = Step::start(unit.name());
    let child = process::spawn(stack, unit.name(), &mut command)?;
    Ok(Starting {
        unit,
        child,
        step,
        log_from,
    })
}

fn command(stack: &Stack, settings: &Settings, unit: Unit) -> Result<Command> {
    match unit {
        Unit::Postgres => cluster::serve(stack),
        Unit::Redis => parts::redis(stack),
        Unit::Nats => parts::nats(stack),
        Unit::S3 => Ok(parts::s3(stack)),
        service => service_command(stack, settings, service, &["serve".to_owned()]),
    }
}

/// A service's binary with any arguments, in the environment it serves in.
pub(crate) fn service_command(
    stack: &Stack,
    settings: &Settings,
    service: Unit,
    arguments: &[String],
) -> Result<Command> {
    let name = service
        .binary()
        .with_context(|| format!("{} is not ours", service.name()))?;
    let binary = stack.binary(&name);
    if !binary.exists() {
        bail!(
            "the stack has no {name} yet; `{} restart {}` builds it",
            stack.command(),
            service.name()
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
        let unit = starting.unit;
        let ended = starting
            .child
            .try_wait()
            .context("cannot wait for a child")?;
        if let Some(status) = ended {
            let tail = log::tail(&stack.log(unit.name()), starting.log_from);
            bail!(
                "{} ended before it was ready ({status}):\n{tail}",
                unit.name()
            );
        }
        if probe::is_ready(stack, unit) {
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
            let name = starting.unit.name();
            format!(
                "{name}:\n{}",
                log::tail(&stack.log(name), starting.log_from)
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
    let names: Vec<&str> = waiting
        .iter()
        .map(|starting| starting.unit.name())
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

/// Stops these units side by side: a request, a bounded wait, SIGKILL.
pub(crate) fn stop(stack: &Stack, units: &[Unit]) -> Result<()> {
    let mut stopping = Vec::new();
    for unit in units {
        if let Some(process) = process::recorded(&stack.pid_file(unit.name())) {
            let step = process.is_alive().then(|| Step::start(unit.name()));
            process.signal(stop_signal(*unit))?;
            stopping.push((*unit, process, step));
        }
    }
    let deadline = Instant::now() + STOP_DEADLINE;
    for (unit, process, step) in stopping {
        let ending = process.wait_or_kill(deadline)?;
        forget(stack, unit);
        if let Some(step) = step {
            step.done(match ending {
                Ending::Orderly => "stopped",
                Ending::Killed => "killed",
            });
        }
    }
    Ok(())
}

/// Kills a unit at once and waits until nothing of it is left.
pub(crate) fn kill(stack: &Stack, unit: Unit) -> Result<()> {
    if let Some(process) = process::recorded(&stack.pid_file(unit.name())) {
        process.kill()?;
        forget(stack, unit);
    }
    Ok(())
}

fn forget(stack: &Stack, unit: Unit) {
    // If it stays, it names a process that is gone, which every reader checks.
    let _ = fs::remove_file(stack.pid_file(unit.name()));
}

/// Stops everything of the stack: jobs, then the gateway, so that nothing new comes in, the services
/// side by side, and the parts they stood on, last started first. One that resists keeps none of the
/// others from being stopped; the first error is reported.
pub(crate) fn stop_all(stack: &Stack) -> Result<()> {
    let mut outcome = job::end_all(stack);
    outcome = outcome.and(stop(stack, &[Unit::Gateway]));
    outcome = outcome.and(stop(stack, &unit::GRPC_SERVICES));
    for part in PARTS.into_iter().rev() {
        outcome = outcome.and(stop(stack, &[part]));
    }
    outcome
}

/// The units that are alive.
pub(crate) fn alive(stack: &Stack) -> Vec<Unit> {
    unit::all()
        .filter(|unit| process::running(stack, unit.name()).is_some())
        .collect()
}
