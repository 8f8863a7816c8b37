//! One paid call, step by step, through the public API: what `cargo dev up` ends with.
//!
//! Reads `GATEWAY_URL`, `REDIS_URL`, `NATS_URL` and `MINUTE_SECS` (see `cargo dev env`). Ends with 1
//! and a sentence when a step fails or the numbers do not add up.

mod events;
mod story;

use std::env;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::story::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn demo() -> Result<()> {
    let settings = Settings {
        gateway_url: variable("GATEWAY_URL")?,
        redis_url: variable("REDIS_URL")?,
        nats_url: variable("NATS_URL")?,
        minute_secs: variable("MINUTE_SECS")?.parse().context("MINUTE_SECS")?,
    };
    story::tell(&settings).await
}

fn variable(name: &str) -> Result<String> {
    env::var(name).with_context(|| format!("{name} is not set: run `cargo dev demo`"))
}
