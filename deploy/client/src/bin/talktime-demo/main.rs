//! The demo at the end of `cargo dev up`: a missed call and a paid one, step by step, through the
//! public API.
//!
//! Reads `GATEWAY_URL`, `REDIS_URL`, `NATS_URL` with the files of their authorities, and `MINUTE_SECS` (see
//! `cargo dev env`). Ends with exit code 1 and a message if a step fails or the numbers do not add up.

mod events;
mod story;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};
use talktime_client::StoreAddress;

use crate::story::DemoSettings;

#[tokio::main]
async fn main() -> ExitCode {
    match load_and_run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn load_and_run() -> Result<()> {
    let settings = DemoSettings {
        gateway_url: read_variable("GATEWAY_URL")?,
        redis: StoreAddress::from_variables("REDIS")?,
        nats: StoreAddress::from_variables("NATS")?,
        minute_secs: read_variable("MINUTE_SECS")?
            .parse()
            .context("MINUTE_SECS")?,
    };
    story::run_demo(&settings).await
}

fn read_variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `cargo dev demo`"))
}
