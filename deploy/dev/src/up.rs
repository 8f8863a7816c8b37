//! `up` and `down`: a whole stack.

use std::process::{Command, ExitCode, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::instance::{Instance, REPLICAS_MAX};
use crate::job::Job;
use crate::process;
use crate::progress::{self, Step};
use crate::session::{self, Session};
use crate::settings::{Build, DEFAULT_MINUTE_SECS, Settings};
use crate::stack::Stack;
use crate::unit::{GRPC_SERVICES, PARTS, Unit};
use crate::{cargo, databases, env, install, interrupt, lifecycle, lock, log, parts, ports, wait};

/// The demo waits through a few minutes of a call, as long as `--minute-secs` makes them.
const DEMO_DEADLINE: Duration = Duration::from_mins(15);
/// A migration of an empty or small database; a long one has no place in development.
const MIGRATE_DEADLINE: Duration = Duration::from_mins(2);
/// How often a stack that is up is looked after.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command line"
)]
pub(crate) struct UpOptions {
    /// Return when the stack is up and the demo is done, and leave it up
    #[arg(long)]
    detach: bool,
    /// Do not run the demo
    #[arg(long)]
    no_demo: bool,
    /// The length of a minute that is billed
    #[arg(long, value_name = "N", default_value_t = DEFAULT_MINUTE_SECS)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    minute_secs: u32,
    /// Build with optimizations
    #[arg(long)]
    release: bool,
    /// Processes of each service
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=i64::from(REPLICAS_MAX)))]
    replicas: u16,
    /// Only Postgres, Redis, NATS and S3, for services run from elsewhere
    #[arg(long)]
    infra_only: bool,
}

impl UpOptions {
    fn settings(&self) -> Settings {
        Settings {
            minute_secs: self.minute_secs,
            build: if self.release {
                Build::Release
            } else {
                Build::Debug
            },
            infra_only: self.infra_only,
            replicas: self.replicas,
            ..Settings::default()
        }
    }
}

/// The command `up`.
pub(crate) fn up(stack: &Stack, options: &UpOptions) -> Result<ExitCode> {
    progress::say(format_args!("Talktime, stack `{}`", stack.name()));
    let settings = options.settings();
    let session = Session::begin(stack)?;
    let outcome = raise_and_show(stack, &settings, options);
    if outcome.is_err() || interrupt::requested() {
        session.end()?;
    } else if options.detach {
        session.leave(&settings)?;
    } else {
        progress::say("\nCtrl-C stops everything.");
        watch(stack);
        session.end()?;
    }
    outcome
}

/// Brings the stack up and runs the demo. A demo that fails is no error here: the stack stays up for
/// whoever wants to know why.
fn raise_and_show(stack: &Stack, settings: &Settings, options: &UpOptions) -> Result<ExitCode> {
    let targets = if settings.infra_only {
        cargo::Targets::Program("talktime-dev-s3")
    } else {
        cargo::Targets::Programs
    };
    raise(stack, settings, &targets)?;
    let demo = if options.no_demo || options.infra_only {
        ExitCode::SUCCESS
    } else {
        exit_code(run_demo(stack, settings)?)
    };
    print_addresses(stack, settings);
    if demo != ExitCode::SUCCESS {
        progress::say("\nThe demo failed; the stack stays up so that you can look into it.");
    }
    if options.detach {
        progress::say(format_args!(
            "\n`{} down` stops everything.",
            stack.command()
        ));
    }
    Ok(demo)
}

/// Installs, builds and starts all that the settings ask for.
pub(crate) fn raise(stack: &Stack, settings: &Settings, targets: &cargo::Targets) -> Result<()> {
    // Before the build, which may take long, and of which a taken port would make nothing.
    let services = settings.services();
    let parts = PARTS.map(Instance::from);
    ports::require_free(stack, &[&parts, services.as_slice()].concat())?;
    settings.save(stack)?;
    install::ensure(stack)?;
    cargo::build(stack, settings.build, targets)?;
    parts::prepare(stack)?;
    lifecycle::start(stack, settings, &parts, &Vec::new())?;
    databases::bootstrap(stack)?;
    if settings.infra_only {
        return Ok(());
    }
    for service in GRPC_SERVICES {
        migrate(stack, settings, service)?;
    }
    lifecycle::start(stack, settings, &services, &Vec::new())
}

/// Brings a service's schema up to date with its binary.
pub(crate) fn migrate(stack: &Stack, settings: &Settings, service: Unit) -> Result<()> {
    let step = Step::start(service.name());
    let path = stack.log(service.name());
    let log_from = log::length(&path);
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .with_context(|| format!("cannot write {}", path.display()))?;
    let mut command =
        lifecycle::service_command(stack, settings, service.into(), &["migrate".to_owned()])?;
    command.stdout(log.try_clone()?).stderr(log);
    let job = Job {
        stack,
        name: "migrate",
        deadline: MIGRATE_DEADLINE,
    };
    let status = job.run(&mut command)?;
    if !status.success() {
        let tail = log::tail(&path, log_from);
        bail!(
            "{} could not migrate its schema ({status}):\n{tail}",
            service.name()
        );
    }
    step.done("migrated");
    Ok(())
}

/// Runs the demo against a stack that is up.
pub(crate) fn run_demo(stack: &Stack, settings: &Settings) -> Result<ExitStatus> {
    let binary = stack.binary("talktime-demo");
    if !binary.exists() {
        bail!("the stack has no demo: no program talktime-demo was built");
    }
    progress::note("demo", "running", "");
    let step = Step::start("demo");
    let mut command = Command::new(binary);
    command.envs(client_variables(stack, settings));
    let job = Job {
        stack,
        name: "demo",
        deadline: DEMO_DEADLINE,
    };
    let status = job.run(&mut command)?;
    step.done(if status.success() { "passed" } else { "FAILED" });
    Ok(status)
}

/// The variables of `cargo dev env`, as of now.
pub(crate) fn client_variables(stack: &Stack, settings: &Settings) -> env::Variables {
    env::of_clients(stack, settings, |service| {
        process::running(stack, &service.name()).map(|process| process.pid)
    })
}

/// A command's own exit code; 1 for one that a signal ended.
pub(crate) fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(1))
}

fn print_addresses(stack: &Stack, settings: &Settings) {
    let mut addresses = vec![
        ("Postgres", env::superuser_url(stack)),
        ("Redis", env::redis_url(stack)),
        ("NATS", env::nats_url(stack)),
        ("S3", env::s3_url(stack)),
    ];
    if !settings.infra_only {
        addresses.insert(0, ("Gateway", env::gateway_url(stack)));
    }
    println!("\nTalktime is up.");
    for (name, address) in addresses {
        println!("  {name:<10} {address}");
    }
}

/// Stays until somebody interrupts us or nothing is left to look after, and tells of processes that
/// come and go meanwhile (by `cargo dev kill`, or by a bug).
fn watch(stack: &Stack) {
    let mut known = lifecycle::alive(stack);
    while !known.is_empty() {
        if pause_unless_interrupted() {
            return;
        }
        let alive = lifecycle::alive(stack);
        for gone in known.iter().filter(|instance| !alive.contains(instance)) {
            let detail = format!("see `{} logs {gone}`", stack.command());
            progress::note(&gone.name(), "gone", detail);
        }
        for back in alive.iter().filter(|instance| !known.contains(instance)) {
            progress::note(&back.name(), "is back", "");
        }
        known = alive;
    }
    progress::say("Nothing of the stack is left.");
}

/// Waits for one interval; true if an interrupt cut it short.
fn pause_unless_interrupted() -> bool {
    wait::until(Instant::now() + WATCH_INTERVAL, interrupt::requested)
}

/// The command `down`.
pub(crate) fn down(stack: &Stack, wipe: bool) -> Result<()> {
    stack.make_dirs()?;
    let was_up = !lifecycle::alive(stack).is_empty();
    lock::ask_holder_to_stop(stack)?;
    lifecycle::stop_all(stack)?;
    Settings {
        detached: false,
        ..Settings::load(stack)
    }
    .save(stack)?;
    if wipe {
        session::wipe(stack)?;
        progress::say(format_args!(
            "The stack `{}` is down and its data deleted.",
            stack.name()
        ));
    } else if was_up {
        progress::say(format_args!("The stack `{}` is down.", stack.name()));
    } else {
        progress::say(format_args!("The stack `{}` was not up.", stack.name()));
    }
    Ok(())
}
