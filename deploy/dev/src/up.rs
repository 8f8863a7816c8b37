//! The commands `up` and `down` for a whole stack.

use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::instance::REPLICAS_MAX;
use crate::job::RunnerJob;
use crate::process;
use crate::progress::{self, ProgressStep};
use crate::session::{self, StackSession};
use crate::settings::{BuildProfile, DEFAULT_MINUTE_SECS, StackSettings};
use crate::stack::DevStack;
use crate::unit::{GRPC_SERVICES, StackUnit};
use crate::{
    cargo, database_urls, databases, env, install, interrupt, lifecycle, lock, log, parts, ports,
    stores, wait,
};

/// Time for the demo, which waits for a few minutes of a call, whose length `--minute-secs` sets.
const DEMO_DEADLINE: Duration = Duration::from_mins(15);
/// Time for a migration of a small database.
const MIGRATE_DEADLINE: Duration = Duration::from_mins(2);
/// The program that makes the demo call.
pub(crate) const DEMO: &str = "talktime-demo";
/// Interval at which a running stack is checked.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct UpOptions {
    /// Return when the stack is up and the demo has finished, and leave it up
    #[arg(long)]
    detach: bool,
    /// Do not run the demo
    #[arg(long)]
    no_demo: bool,
    /// Length of a billed minute in seconds
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MINUTE_SECS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    minute_secs: u32,
    /// Build with optimizations
    #[arg(long)]
    release: bool,
    /// Number of processes of each service
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(REPLICAS_MAX)))]
    replicas: u16,
    /// Start only Postgres, Redis, NATS, S3 and coturn, for services that run elsewhere
    #[arg(long)]
    infra_only: bool,
}

impl UpOptions {
    fn settings(&self) -> StackSettings {
        StackSettings {
            minute_secs: self.minute_secs,
            build: if self.release {
                BuildProfile::Release
            } else {
                BuildProfile::Debug
            },
            infra_only: self.infra_only,
            replicas: self.replicas,
            ..StackSettings::default()
        }
    }
}

/// The command `up`.
pub(crate) fn run_up(stack: &DevStack, options: &UpOptions) -> Result<ExitCode> {
    progress::print_line(format_args!("Talktime, stack `{}`", stack.name()));
    let settings = options.settings();
    let session = StackSession::begin(stack)?;
    let outcome = start_and_demo(stack, &settings, options);
    if outcome.is_err() || interrupt::is_requested() {
        session.end()?;
    } else if options.detach {
        session.detach(&settings)?;
    } else {
        progress::print_line("\nCtrl-C stops everything.");
        watch_stack(stack);
        session.end()?;
    }
    outcome
}

/// Starts the stack and runs the demo. A failed demo is not an error: the stack stays up so that its cause can
/// be found.
fn start_and_demo(
    stack: &DevStack,
    settings: &StackSettings,
    options: &UpOptions,
) -> Result<ExitCode> {
    let targets = if settings.infra_only {
        cargo::BuildTargets::parts()
    } else {
        cargo::BuildTargets::stack_and(&[DEMO])
    };
    start_stack(stack, settings, &targets)?;
    let demo = if options.no_demo || options.infra_only {
        ExitCode::SUCCESS
    } else {
        exit_code(run_demo(stack, settings)?)
    };
    print_addresses(stack, settings);
    if demo != ExitCode::SUCCESS {
        progress::print_line(
            "\nThe demo failed; the stack stays up so that you can find the cause.",
        );
    }
    if options.detach {
        progress::print_line(format_args!(
            "\n`{} down` stops everything.",
            stack.command()
        ));
    }
    Ok(demo)
}

/// Installs, builds and starts everything that the settings require.
pub(crate) fn start_stack(
    stack: &DevStack,
    settings: &StackSettings,
    targets: &cargo::BuildTargets,
) -> Result<()> {
    // Ports are checked before the build, which may take minutes.
    let services = settings.list_services();
    let parts = settings.list_parts();
    ports::require_free_ports(stack, &[parts.as_slice(), services.as_slice()].concat())?;
    settings.save(stack)?;
    install::ensure_installed(stack)?;
    cargo::build_programs(stack, settings.build, targets)?;
    parts::prepare_parts(stack)?;
    lifecycle::start_instances(stack, settings, &parts, &Vec::new())?;
    databases::bootstrap_databases(stack)?;
    if settings.infra_only {
        return Ok(());
    }
    for service in GRPC_SERVICES {
        migrate_service(stack, settings, service)?;
    }
    lifecycle::start_instances(stack, settings, &services, &Vec::new())
}

/// Migrates the schema of a service with its binary.
pub(crate) fn migrate_service(
    stack: &DevStack,
    settings: &StackSettings,
    service: StackUnit,
) -> Result<()> {
    let step = ProgressStep::start(service.name());
    let path = stack.log_file(service.name());
    let log_from = log::read_length(&path);
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut command =
        lifecycle::build_service_command(stack, settings, service.into(), &["migrate".to_owned()])?;
    command.stdout(log.try_clone()?).stderr(log);
    let job = RunnerJob {
        stack,
        name: "migrate",
        deadline: MIGRATE_DEADLINE,
    };
    let status = job.run(&mut command)?;
    if !status.success() {
        let tail = log::format_tail(&path, log_from);
        bail!(
            "{} could not migrate its schema ({status}):\n{tail}",
            service.name()
        );
    }
    step.finish("migrated");
    Ok(())
}

/// Runs the demo against a stack that is up.
pub(crate) fn run_demo(stack: &DevStack, settings: &StackSettings) -> Result<ExitStatus> {
    let binary = stack.binary(DEMO);
    if !binary.exists() {
        bail!("{DEMO} was not built; `{} up` builds it", stack.command());
    }
    progress::print_status("demo", "running", "");
    let step = ProgressStep::start("demo");
    let mut command = Command::new(binary);
    command.envs(client_variables(stack, settings)?);
    let job = RunnerJob {
        stack,
        name: "demo",
        deadline: DEMO_DEADLINE,
    };
    let status = job.run(&mut command)?;
    step.finish(if status.success() { "passed" } else { "FAILED" });
    Ok(status)
}

/// Returns the variables of `cargo dev env` with the current pids.
pub(crate) fn client_variables(
    stack: &DevStack,
    settings: &StackSettings,
) -> Result<env::EnvVariables> {
    env::client_variables(stack, settings, |service| {
        process::find_running(stack, &service.name()).map(|process| process.pid)
    })
}

/// Returns the exit code of a command, or 1 if a signal ended it.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

fn print_addresses(stack: &DevStack, settings: &StackSettings) {
    let mut addresses = vec![
        ("Postgres", database_urls::superuser_url(stack)),
        ("Redis", stores::redis_address(stack)),
        ("NATS", stores::nats_address(stack)),
        ("S3", env::s3_url(stack)),
        ("TURN", env::turn_url(stack)),
    ];
    if !settings.infra_only {
        addresses.insert(0, ("Gateway", env::gateway_url(stack)));
    }
    println!("\nTalktime is up.");
    for (name, address) in addresses {
        println!("  {name:<10} {address}");
    }
    if !settings.infra_only {
        let page = env::page_url(stack);
        println!("\nTo talk to yourself, open two windows of a browser and allow the microphone:");
        println!("  Listener   {page}/?as=listener");
        println!("  Caller     {page}/?as=caller");
    }
}

/// Waits until an interrupt, or until no process is left, and prints which processes stop and start meanwhile
/// (by `cargo dev kill`, or by a bug).
fn watch_stack(stack: &DevStack) {
    let mut known = lifecycle::list_alive(stack);
    while !known.is_empty() {
        if wait_or_interrupt() {
            return;
        }
        let alive = lifecycle::list_alive(stack);
        for gone in known.iter().filter(|instance| !alive.contains(instance)) {
            let detail = format!("see `{} logs {gone}`", stack.command());
            progress::print_status(&gone.name(), "gone", detail);
        }
        for back in alive.iter().filter(|instance| !known.contains(instance)) {
            progress::print_status(&back.name(), "is back", "");
        }
        known = alive;
    }
    progress::print_line("All processes of the stack have ended.");
}

/// Waits for one interval; returns true after an interrupt.
fn wait_or_interrupt() -> bool {
    wait::poll_until(Instant::now() + WATCH_INTERVAL, interrupt::is_requested)
}

/// The command `down`.
pub(crate) fn run_down(stack: &DevStack, wipe: bool) -> Result<()> {
    stack.create_dirs()?;
    let was_up = !lifecycle::list_alive(stack).is_empty();
    lock::stop_holder(stack)?;
    lifecycle::stop_stack(stack)?;
    StackSettings {
        detached: false,
        ..StackSettings::load(stack)
    }
    .save(stack)?;
    if wipe {
        session::wipe_stack(stack)?;
        progress::print_line(format_args!(
            "The stack `{}` is down, and its data is deleted.",
            stack.name()
        ));
    } else if was_up {
        progress::print_line(format_args!("The stack `{}` is down.", stack.name()));
    } else {
        progress::print_line(format_args!("The stack `{}` was not up.", stack.name()));
    }
    Ok(())
}
