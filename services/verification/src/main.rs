//! The binary of verification: `serve`, `verify`, and the commands that every service has.

use clap::{Parser, Subcommand};
use talktime_kit::cli;
use talktime_verification::SCHEMA;
use talktime_verification::config::VerificationConfig;

#[global_allocator]
static ALLOCATOR: talktime_kit::MiMalloc = talktime_kit::MiMalloc;

#[derive(Parser)]
#[command(about, version)]
struct VerificationCommandLine {
    #[command(subcommand)]
    command: VerificationCommand,
}

#[derive(Subcommand)]
enum VerificationCommand {
    /// Serves gRPC until SIGTERM or SIGINT.
    Serve,
    /// Compares records and objects; fails if one exists without the other.
    Verify,
    /// Judges the audio file on standard input. The service runs this command for each upload.
    #[command(hide = true)]
    Probe {
        /// mp3, wav, m4a or aac
        extension: String,
    },
    /// Renders the photo on standard input to standard output. The service runs this command for each photo.
    #[command(hide = true)]
    RenderPhoto {
        /// jpg, png or webp
        extension: String,
    },
    #[command(flatten)]
    Common(cli::CommonCommand),
}

fn main() -> anyhow::Result<()> {
    match VerificationCommandLine::parse().command {
        // There is no runtime here, since its threads would count towards the memory limit.
        VerificationCommand::Probe { extension } => {
            talktime_verification::probe::audio::run(&extension)
        }
        VerificationCommand::RenderPhoto { extension } => {
            talktime_verification::probe::photo::run(&extension)
        }
        command => run(command),
    }
}

#[tokio::main]
async fn run(command: VerificationCommand) -> anyhow::Result<()> {
    let (service, config) = talktime_kit::config::load::<VerificationConfig>(SCHEMA.name)?;
    match command {
        VerificationCommand::Serve => talktime_verification::serve(service, config).await,
        VerificationCommand::Verify => talktime_verification::verify(&service, &config).await,
        VerificationCommand::Common(command) => cli::run(command, &service, SCHEMA).await,
        VerificationCommand::Probe { .. } | VerificationCommand::RenderPhoto { .. } => {
            unreachable!("runs without configuration")
        }
    }
}
