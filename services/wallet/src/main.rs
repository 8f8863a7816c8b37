//! The wallet's binary: `serve`, and the commands that every service has.

use clap::{Parser, Subcommand};
use talktime_kit::cli;
use talktime_kit::operator::OperatorArgument;
use talktime_wallet::SCHEMA;
use talktime_wallet::config::WalletConfig;

#[global_allocator]
static ALLOCATOR: talktime_kit::MiMalloc = talktime_kit::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct WalletCommandLine {
    #[command(subcommand)]
    command: WalletCommand,
}

#[derive(Subcommand)]
enum WalletCommand {
    /// Serves gRPC until SIGTERM or SIGINT.
    Serve,
    /// Compares journal, transfers, wallets, histories and the provider's reports, walks the chains and compares them with
    /// their anchors; fails and names the differences.
    Verify,
    /// Seals bank details again that a retired key sealed; safe beside a live service.
    RotateBankDetails {
        #[command(flatten)]
        operator: OperatorArgument,
    },
    /// Prints as CSV what is to be paid out by hand, as a numbered batch. A withdrawal is in one batch.
    ExportPayouts {
        /// Takes the list to the bank; kept with the batch
        #[command(flatten)]
        operator: OperatorArgument,
        /// Print what is left of this batch again, instead of a new one
        #[arg(long)]
        batch: Option<i64>,
    },
    #[command(flatten)]
    Common(cli::CommonCommand),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let cli = WalletCommandLine::parse();
    let (service, config) = talktime_kit::config::load::<WalletConfig>(SCHEMA.name)?;
    match cli.command {
        WalletCommand::Serve => talktime_wallet::serve(service, config).await,
        WalletCommand::Verify => talktime_wallet::verify(&service, &config).await,
        WalletCommand::RotateBankDetails { operator } => {
            let operator = operator.identify(&service.process)?;
            talktime_wallet::rotate_bank_details(&service, &config, operator).await
        }
        WalletCommand::ExportPayouts { operator, batch } => {
            let operator = operator.identify(&service.process)?;
            talktime_wallet::export_payouts(&service, &config, operator, batch).await
        }
        WalletCommand::Common(cli::CommonCommand::Restored) => {
            talktime_wallet::restored::make_safe(&service, &config).await
        }
        WalletCommand::Common(command) => cli::run(command, &service, SCHEMA).await,
    }
}
