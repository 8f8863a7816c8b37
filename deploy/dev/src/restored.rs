//! The command `restored`: makes a database safe that was restored to a moment of the past.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::job::RunnerJob;
use crate::settings::StackSettings;
use crate::stack::DevStack;
use crate::unit::StackUnit;
use crate::{env, lifecycle, progress, single, up};

/// Time for one service, which may wait for processes that have just ended, or ask the provider of payments.
const RESTORED_DEADLINE: Duration = Duration::from_hours(2);
/// The services in the order in which they are made safe. Auth is the last one: it deletes the stream, in which
/// the others look for events that were lost.
const ORDER: [StackUnit; 6] = [
    StackUnit::Profile,
    StackUnit::Presence,
    StackUnit::Wallet,
    StackUnit::Calls,
    StackUnit::Verification,
    StackUnit::Auth,
];

#[derive(Args)]
pub(crate) struct RestoredOptions {
    /// Additional variable of the environment of each service, such as the address of the restored database
    #[arg(long = "env", value_name = "K=V", value_parser = single::parse_variable)]
    variables: Vec<(String, String)>,
}

/// Whether a process of this unit would work against the restored database. Relays and their agents have neither
/// a database nor events.
fn uses_database_or_events(unit: StackUnit) -> bool {
    unit.has_grpc() || unit == StackUnit::Gateway
}

/// Runs `restored` of each service. May be repeated, whatever interrupted it.
pub(crate) fn run_restored(stack: &DevStack, options: &RestoredOptions) -> Result<ExitCode> {
    let alive = lifecycle::list_alive(stack);
    if let Some(running) = alive
        .iter()
        .find(|instance| uses_database_or_events(instance.unit))
    {
        bail!("{running} runs; stop all services and gateways first");
    }
    let settings = StackSettings::load(stack);
    for service in ORDER {
        let arguments = ["restored".to_owned()];
        let mut command =
            lifecycle::build_service_command(stack, &settings, service.into(), &arguments)?;
        command
            .envs(env::operator_variables(stack, service)?)
            .envs(options.variables.iter().cloned());
        let job = RunnerJob {
            stack,
            name: "restored",
            deadline: RESTORED_DEADLINE,
        };
        let status = job.run(&mut command)?;
        if !status.success() {
            progress::print_line(format_args!(
                "{} was not made safe; run the command again",
                service.name()
            ));
            return Ok(up::exit_code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}
