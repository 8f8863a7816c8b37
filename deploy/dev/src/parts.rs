//! The parts of a stack: Postgres, Redis, NATS and an S3 server, each with a folder of its own, and the server of the
//! demo page. `relays` has the media relays.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::secrets::{S3_ACCESS_KEY, S3_SECRET_KEY};
use crate::settings::StackSettings;
use crate::stack::{self, DevStack, workspace_root};
use crate::unit::StackUnit;
use crate::{cluster, env, identities, install, redis, relays};

/// Settings of NATS that have no option on its command line. Without a size, it offers three quarters of what the disk
/// has free, and on a disk that is nearly full it refuses the stream of events, which may grow to 8 GiB.
const NATS_CONFIG: &str = "jetstream { max_file_store: 9GiB }\n";

/// Creates what the parts need before they start.
pub(crate) fn prepare_parts(stack: &DevStack) -> Result<()> {
    for unit in [StackUnit::Redis, StackUnit::Nats, StackUnit::S3] {
        let folder = data_dir(stack, unit);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
    }
    let config = nats_config(stack);
    fs::write(&config, NATS_CONFIG)
        .with_context(|| format!("cannot write {}", config.display()))?;
    relays::prepare_relays(stack)?;
    cluster::prepare_cluster(stack)
}

/// Deletes the data of one part. The data of Postgres can only be deleted with the whole stack.
pub(crate) fn wipe_part(stack: &DevStack, unit: StackUnit) -> Result<()> {
    match unit {
        StackUnit::Redis | StackUnit::Nats | StackUnit::S3 => {
            stack::remove_dir(&data_dir(stack, unit))
        }
        _ => bail!("only redis, nats and s3 can be wiped alone"),
    }
}

/// Returns the command that runs Redis, without snapshots and log, because its data may be lost.
pub(crate) fn build_redis_command(stack: &DevStack) -> Result<Command> {
    let folder = data_dir(stack, StackUnit::Redis);
    redis::build_volatile_redis_command(stack.main_port(StackUnit::Redis), &folder)
}

/// Returns the command that runs NATS, with `JetStream` on disk and monitoring over HTTP.
pub(crate) fn build_nats_command(stack: &DevStack) -> Result<Command> {
    let mut command = Command::new(install::find_program("nats-server")?);
    command
        .arg("--config")
        .arg(nats_config(stack))
        .args(["--addr", "127.0.0.1", "--jetstream"])
        .args(["--port", &stack.main_port(StackUnit::Nats).to_string()])
        .arg("--store_dir")
        .arg(data_dir(stack, StackUnit::Nats));
    if let Some(port) = stack.ops_port(StackUnit::Nats) {
        command.args(["--http_port", &port.to_string()]);
    }
    Ok(command)
}

/// Returns the command that runs the S3 server of the package talktime-dev-s3.
pub(crate) fn build_s3_command(stack: &DevStack) -> Command {
    let identity = identities::identity_dir(stack, StackUnit::S3);
    let mut command = Command::new(stack.binary("talktime-dev-s3"));
    command
        .arg("--certificate")
        .arg(identity.join("tls.crt"))
        .arg("--key")
        .arg(identity.join("tls.key"))
        .args([
            "--listen",
            &format!("127.0.0.1:{}", stack.main_port(StackUnit::S3)),
        ])
        .args(["--access-key", S3_ACCESS_KEY, "--secret-key", S3_SECRET_KEY])
        .args(["--bucket", env::BUCKET])
        .arg("--root")
        .arg(data_dir(stack, StackUnit::S3));
    command
}

/// Returns the command that serves the demo page, with the addresses of all gateways of the stack.
pub(crate) fn build_page_command(stack: &DevStack, settings: &StackSettings) -> Command {
    let port = stack.main_port(StackUnit::Page);
    let mut command = Command::new(stack.binary("talktime-demo-page"));
    command
        .env("PAGE_LISTEN", format!("127.0.0.1:{port}"))
        .env("PAGE_FOLDER", workspace_root().join("deploy/client/web"))
        .env("GATEWAY_URLS", env::gateway_urls(stack, settings).join(","))
        .env("REDIS_URL", env::redis_url(stack));
    command
}

fn nats_config(stack: &DevStack) -> PathBuf {
    stack.data_dir().join("nats.conf")
}

fn data_dir(stack: &DevStack, unit: StackUnit) -> PathBuf {
    stack.data_dir().join(unit.name())
}
